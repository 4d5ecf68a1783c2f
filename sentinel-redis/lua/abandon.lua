-- A function has ended, and nobody knows what happened: uncertain now, and a reset need not wait.
local function step(r, now, arg)
  local grant, cause = struct.unpack('>c32I2c0', arg)
  if not matches(r, grant) or r.state ~= EXECUTING or r.doubt ~= '' then return end
  r.lease, r.hard, r.doubt = math.min(r.lease, now), math.min(r.hard, now), cause
  return { change = 'A', id = r.claim, why = cause }
end
