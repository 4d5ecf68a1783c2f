-- kernel::table::claim. A caller asks for a grant.
local function claim(r, now, arg)
  local id, fingerprint, phase, ttl, hard_ttl, late, kept, retention, accepts, origin, worker =
    struct.unpack('>c16I2c0c1I8I8I8c1c8I2c0I2c0I2c0', arg)
  local claimable = r.state == FREE or (r.state == CLAIMED and not live(r, now)) or past_retention(r, now)
  if not claimable then return end
  -- A late duplicate creates no claim, and a claim does not take over from itself.
  if (r.held == YES and r.claim == id) or remembers(r, id) then return end
  local fresh = r.incarnation == NONE or r.state == COMPLETED
  local caused = r.origin ~= origin and enter_cause
  free(r)
  r.token = draw(r, now)
  if fresh then r.incarnation, r.after_reset = r.token, NO end
  r.state, r.held, r.claim, r.worker, r.fingerprint = phase, YES, id, worker, fingerprint
  r.ttl, r.hard_ttl, r.late, r.kept, r.retention, r.accepts = ttl, hard_ttl, late, kept, retention, accepts
  r.origin = origin
  r.claimed, r.lease, r.hard, r.effects = now, now + ttl, now + hard_ttl, now + hard_ttl + late
  if phase == EXECUTING then r.begun = now end
  local asked = string.sub(arg, 19 + #fingerprint, 56 + #fingerprint + #accepts + #origin)
  return { change = 'C', id = id, rest = asked .. r.incarnation .. fingerprint, caused = caused }
end

-- What `claim` makes of a key that has no record, as most have none: its record and the event in it, at once. But for
-- claim id and fingerprint, most claims of a call are equal: the pieces between those are made once.
local like, length, phase, opening, terms, event, ending
local function quick_claim(before, arg)
  if before then return end
  local id, fingerprint, from = struct.unpack('>c16I2c0', arg)
  local rest = string.sub(arg, from)
  if rest ~= like or #fingerprint ~= length then
    local token = math.max(floor, clock) + 1
    if token >= LAST_TOKEN then return end
    local ttl, hard_ttl, late, kept, retention, accepts, origin, worker
    phase, ttl, hard_ttl, late, kept, retention, accepts, origin, worker =
      struct.unpack('>c1I8I8I8c1c8I2c0I2c0I2c0', rest)
    -- What has a cause is entered in an index, and no claims are alike then.
    if origin ~= '' then
      like = nil
      return
    end
    local fresh, instant = string.format('%016.0f', token), struct.pack('>I8', clock)
    local asked, named = string.sub(rest, 1, 38 + #accepts), string.sub(rest, 39 + #accepts)
    like, length, opening = rest, #fingerprint, phase .. YES .. NO .. kept .. NO .. NO .. fresh
    terms = fresh .. FIRST .. instant .. struct.pack('>I8I8', clock + ttl, clock + hard_ttl) .. instant
      .. (phase == EXECUTING and instant or NEVER) .. NEVER .. string.sub(rest, 2, 17) .. retention
      .. struct.pack('>I8', clock + hard_ttl + late) .. string.sub(rest, 18, 25) .. NOTHING .. named
      .. struct.pack('>I2', length)
    event = string.sub(asked, 35) .. NOTHING .. NOTHING .. NOTHING .. NOTHING
      .. struct.pack('>I2', 111 + #worker + #accepts + length) .. 'C-' .. phase .. FIRST .. instant .. fresh
    ending = named .. NOTHING .. NOTHING .. asked .. fresh
  end
  return opening .. id .. terms .. fingerprint .. event .. id .. ending .. fingerprint, phase, 'C'
end
