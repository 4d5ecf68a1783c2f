-- Claims, and behind them completions, in one call: the last argument says how many are claims. These stand first, because
-- what is drawn is told by the floor as it was before the call, and a completion may raise it.
local claims = tonumber(ARGV[#ARGV])

local function step(r, now, arg, n)
  if n <= claims then return claim(r, now, arg) end
  return complete(r, now, arg)
end

local function quick(before, arg, n)
  if n <= claims then return quick_claim(before, arg) end
  return quick_complete(before, arg)
end
