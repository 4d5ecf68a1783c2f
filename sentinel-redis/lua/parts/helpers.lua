-- Each script is linked only with the helpers that it uses, because each function costs time at every call.

local function decode(stored)
  local state, held, after_reset, kept, spilled, _, token, claim, incarnation, rev, last, lease, hard, claimed, begun,
    completed, ttl, hard_ttl, retention, effects, late, past, worker, fingerprint, accepts, origin, doubt, decision,
    result, rest = struct.unpack(RECORD, stored)
  return {
    state = state, held = held, after_reset = after_reset, kept = kept, spilled = spilled, token = token,
    incarnation = incarnation, claim = claim, rev = rev, last = last, lease = lease, hard = hard, claimed = claimed,
    begun = begun, completed = completed, ttl = ttl, hard_ttl = hard_ttl, retention = retention, effects = effects,
    late = late, past = past, worker = worker, fingerprint = fingerprint, accepts = accepts, origin = origin,
    doubt = doubt, decision = decision, result = result, log = string.sub(stored, rest),
  }
end

local function absent()
  return {
    state = FREE, held = NO, after_reset = NO, kept = NO, spilled = NO, token = NONE, incarnation = NONE,
    claim = NO_CLAIM, rev = 0, last = 0, lease = 0, hard = 0, claimed = 0, begun = 0, completed = 0, ttl = 0,
    hard_ttl = 0, retention = NEVER, effects = 0, late = 0, past = '', worker = '', fingerprint = '', accepts = '',
    origin = '', doubt = '', decision = '', result = '', log = '',
  }
end

local function encode(r)
  -- The fixed fields also hold whether there is a cause of doubt: for heartbeats, which do not read the texts.
  local doubted = r.doubt ~= '' and YES or NO
  return struct.pack(RECORD, r.state, r.held, r.after_reset, r.kept, r.spilled, doubted, r.token, r.claim,
    r.incarnation, r.rev, r.last, r.lease, r.hard, r.claimed, r.begun, r.completed, r.ttl, r.hard_ttl, r.retention,
    r.effects, r.late, #r.past, r.past, #r.worker, r.worker, #r.fingerprint, r.fingerprint, #r.accepts, r.accepts,
    #r.origin, r.origin, #r.doubt, r.doubt, #r.decision, r.decision, #r.result, r.result) .. r.log
end

-- For a record that is held. At its boundary, a lease is expired.
local function live(r, now)
  return now < r.lease
end

local function past_retention(r, now)
  return r.state == COMPLETED and r.kept == YES and now >= r.completed + struct.unpack('>I8', r.retention)
end

-- A grant is sixteen digits of token and sixteen bytes of claim id, as they are in the record. Both must be the
-- record's. Callers also check that the record is held.
local function matches(r, grant)
  return grant == r.token .. r.claim
end

local function remembers(r, id)
  for at = 1, #r.past, 16 do
    if string.sub(r.past, at, at + 15) == id then return true end
  end
  return false
end

-- The newest of eight; one that is remembered already moves up.
local function remember(r, id)
  local past = id
  for at = 1, #r.past, 16 do
    local one = string.sub(r.past, at, at + 15)
    if one ~= id and #past < 128 then past = past .. one end
  end
  r.past = past
end

local function fence_out(r)
  if r.held == YES then remember(r, r.claim) end
  r.held, r.claim = NO, NO_CLAIM
end

-- Frees the record. What outlives a run stays: token, incarnation, past claim ids, the last decision, and its origin.
local function free(r)
  fence_out(r)
  r.state, r.kept, r.retention, r.ttl, r.hard_ttl, r.late = FREE, NO, NEVER, 0, 0, 0
  r.claimed, r.lease, r.hard, r.effects, r.begun, r.completed = 0, 0, 0, 0, 0, 0
  r.worker, r.fingerprint, r.accepts, r.doubt, r.result = '', '', '', '', ''
end

local function next_token(r, now)
  return math.max(tonumber(r.token), floor, now) + 1
end

local function draw(r, now)
  return string.format('%016.0f', next_token(r, now))
end

-- Records a decision: its token, when, and what the operator sent: op id, kind, the token presented, digest, operator,
-- reason.
local function decide(r, now, sent)
  r.decision = r.token .. struct.pack('>I8', now) .. sent
end

-- Whether `sent` is the last decision: by its op id and its kind.
local function decided(r, sent)
  return string.sub(r.decision, 25, 41) == string.sub(sent, 1, 17)
end

-- The first instant at which a purge may delete the record; nil: never, as it is now. Unchanged for over an hour; a
-- result past its retention; never a tombstone whose incarnation a reset has offered again.
local function due(r)
  if r.state == FREE and r.after_reset == NO then return r.last + HOUR + 1 end
  if r.state == COMPLETED and r.kept == YES then
    return math.max(r.last + HOUR + 1, r.completed + struct.unpack('>I8', r.retention))
  end
end

-- Whether callers of a key can decode a media type. Empty means any type. Commas separate types, and no type contains
-- one.
local function decodes(r, media)
  if r.accepts == '' then return true end
  local listed = string.find(',' .. r.accepts .. ',', ',' .. media .. ',', 1, true)
  return listed and not string.find(media, ',', 1, true)
end

-- Moves the events in a record to its list, by a command that is carried out later. `n` is the item of the call.
local function spill(r, events, n, later)
  local push, one, next_one = { 'RPUSH', events, item = n }, nil, 1
  while next_one <= #r.log do
    one, next_one = struct.unpack('>I2c0', r.log, next_one)
    push[#push + 1] = one
  end
  later[#later + 1] = push
  r.log, r.spilled = '', YES
end

-- Removes a record from the index of causes. It has an entry under its root and one under its trace, and one under its
-- name that knows both: so it can be removed after it has expired.
local function leave_causes(name)
  local own = 'k' .. name .. '\0'
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', KEYS[7], '[' .. own, '(k' .. name .. '\1')) do
    local trace, root = string.match(string.sub(entry, #own + 1), '^(%x+) (%S+)$')
    redis.call('ZREM', KEYS[7], entry, 't' .. trace .. '\0' .. name, 'r' .. root .. '\0' .. name)
  end
end

-- Enters a record under the cause of its claim, and no other one. An origin begins with the cause after its length.
local function enter_cause(name, origin)
  leave_causes(name)
  local trace, root = string.match(origin == '' and '' or struct.unpack('>I2c0', origin), '^(%x+) (%S+)')
  if not trace then return end
  redis.call('ZADD', KEYS[7], '0', 'k' .. name .. '\0' .. trace .. ' ' .. root, '0', 'r' .. root .. '\0' .. name)
  if trace ~= NO_TRACE then redis.call('ZADD', KEYS[7], '0', 't' .. trace .. '\0' .. name) end
end

-- The short path of most calls: returns the record to write, its new state and the change; or nothing, if the rules
-- have to be checked one by one. This is for operations that have no short path.
local function quick()
end
