-- kernel::table::abandon. A function has ended, and its outcome is unknown: uncertain now. A reset waits for late
-- effects.
local function step(r, now, arg)
  local grant, cause, late = struct.unpack('>c32I2c0I8', arg)
  if not matches(r, grant) or r.state ~= EXECUTING or r.doubt ~= '' then return end
  r.lease, r.hard, r.doubt = math.min(r.lease, now), math.min(r.hard, now), cause
  -- Possibly later than before: a function that outlived its hard deadline caused effects until now.
  r.effects = now + late
  return { change = 'A', id = r.claim, why = cause, rest = struct.pack('>I8', r.effects) }
end
