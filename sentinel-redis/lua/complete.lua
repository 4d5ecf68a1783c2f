-- A worker has ended, and this is its result. Expiry does not matter: the rightful worker's truth beats doubt.
local function step(r, now, arg)
  local grant, result = struct.unpack('>c32I4c0', arg)
  if not matches(r, grant) or r.state ~= EXECUTING then return end
  r.state, r.completed, r.result = COMPLETED, now, result
  local late = now >= r.lease and YES or NO
  -- Verdict and code stand first in a result; the log keeps those, and not its bytes.
  return { change = 'D', id = r.claim, rest = string.sub(result, 1, 5) .. late }
end
