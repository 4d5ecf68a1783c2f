-- Anyone asks for a grant.
local function step(r, now, arg)
  local id, phase, ttl, hard_ttl, kept, retention, worker, fingerprint =
    struct.unpack('>c16c1I8I8c1c8I2c0I2c0', arg)
  local claimable = r.state == FREE or (r.state == CLAIMED and not live(r, now)) or past_retention(r, now)
  if not claimable then return end
  -- A late duplicate creates no ghost, and a claim that is still its own is not taken over by itself.
  if (r.held == YES and r.claim == id) or remembers(r, id) then return end
  local fresh = r.incarnation == NONE or r.state == COMPLETED
  free(r)
  r.token = draw(r, now)
  if fresh then r.incarnation, r.after_reset = r.token, NO end
  r.state, r.held, r.claim, r.worker, r.fingerprint = phase, YES, id, worker, fingerprint
  r.ttl, r.hard_ttl, r.kept, r.retention = ttl, hard_ttl, kept, retention
  r.claimed, r.lease, r.hard = now, now + ttl, now + hard_ttl
  if phase == EXECUTING then r.begun = now end
  return { change = 'C', id = id, rest = string.sub(arg, 17, 42) .. r.incarnation .. fingerprint }
end

-- What `step` makes of a key that nobody has asked for yet, as most are: its record and the event in it, in one go.
local fresh, instant = string.format('%016.0f', math.max(floor, clock) + 1), struct.pack('>I8', clock)
local function quick(before, arg)
  if before or tonumber(fresh) >= LAST_TOKEN then return end
  local id, phase, ttl, hard_ttl, kept, retention, worker, fingerprint =
    struct.unpack('>c16c1I8I8c1c8I2c0I2c0', arg)
  return phase .. YES .. NO .. kept .. NO .. fresh .. fresh .. id .. FIRST .. instant
    .. struct.pack('>I8I8', clock + ttl, clock + hard_ttl) .. instant .. (phase == EXECUTING and instant or NEVER) .. NEVER
    .. string.sub(arg, 18, 33) .. retention .. NOTHING .. string.sub(arg, 43) .. NOTHING .. NOTHING .. NOTHING .. NOTHING
    .. struct.pack('>I2', 99 + #worker + #fingerprint) .. 'C-' .. phase .. FIRST .. instant .. fresh .. id
    .. struct.pack('>I2', #worker) .. worker .. NOTHING .. NOTHING .. string.sub(arg, 17, 42) .. fresh .. fingerprint, phase, 'C'
end
