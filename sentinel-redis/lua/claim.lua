-- Anyone asks for a grant.
local function step(r, now, arg)
  local id, phase, ttl, hard_ttl, kept, retention, fingerprint, worker =
    struct.unpack('>c16c1I8I8c1c8I2c0I2c0', arg)
  local claimable = r.state == FREE or (r.state == CLAIMED and not live(r, now)) or past_retention(r, now)
  if not claimable then return end
  -- A late duplicate creates no ghost, and a claim that is still its own is not taken over by itself.
  if (r.held == YES and r.claim == id) or remembers(r, id) then return end
  local fresh = r.incarnation == NONE or r.state == COMPLETED
  if r.rev > 0 then free(r) end
  r.token = draw(r, now)
  if fresh then r.incarnation, r.after_reset = r.token, NO end
  r.state, r.held, r.claim, r.worker, r.fingerprint = phase, YES, id, worker, fingerprint
  r.ttl, r.hard_ttl, r.kept, r.retention = ttl, hard_ttl, kept, retention
  r.claimed, r.lease, r.hard = now, now + ttl, now + hard_ttl
  if phase == EXECUTING then r.begun = now end
  local rest = struct.pack('>c1c16I8I8c1c8', phase, r.incarnation, ttl, hard_ttl, kept, retention) .. fingerprint
  return { change = 'C', id = id, rest = rest }
end
