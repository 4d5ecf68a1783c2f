-- Claims, and after them completions, in one call: the last argument is the number of claims. They come first, because
-- the reply has the floor as it was before the call, and a completion may raise it.
local claims = tonumber(ARGV[#ARGV])

local function step(r, now, arg, n)
  if n <= claims then return claim(r, now, arg) end
  return complete(r, now, arg)
end

local function quick(before, arg, n)
  if n <= claims then return quick_claim(before, arg) end
  return quick_complete(before, arg)
end
