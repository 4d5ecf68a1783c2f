-- What every script begins with. The epoch is in the text so that a server which was not looked at does not know the script:
-- one that was restarted or promoted answers NOSCRIPT. Epoch {epoch}.
--
-- KEYS: marker, floor, index, undecided, due, touch, then for each item its record and its events.
-- ARGV: the clock's offset (tests move it), whether a barrier follows, how many bytes of a record's name stand before its
-- key, then for each item its arguments.

-- The one reading of the clock. It moves within a script, and is read before anything else.
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2] + ARGV[1]

local bucket = redis.call('MGET', KEYS[1], KEYS[2])
if bucket[1] ~= '{store}' then
  return redis.error_reply('SENTINELAMNESIA the marker of this bucket is ' .. (bucket[1] or 'gone'))
end
local floor = tonumber(bucket[2] or 0)

local FREE, CLAIMED, EXECUTING, COMPLETED, RECONCILING = 'f', 'c', 'x', 'd', 'r'
local YES, NO = '1', '0'
local NONE = string.rep('0', 16)
local NOBODY = string.rep('\0', 16)
local HOUR = 3600000000

-- Fixed numbers first, so that a heartbeat reads and writes only those; texts after them, each behind its length. Tokens are
-- sixteen decimal digits, which no double rounds; the other numbers are microseconds and counts, all below 2^53.
local HEAD = '>c1c1c1c1c16c16c16I8I8I8I8I8I8I8I8I8c8'
local TEXTS = 'I2c0I2c0I2c0I2c0I2c0I4c0'

local function decode(stored)
  local r = {}
  r.state, r.held, r.after_reset, r.kept, r.token, r.incarnation, r.claim,
    r.rev, r.last, r.lease, r.hard, r.claimed, r.begun, r.completed, r.ttl, r.hard_ttl, r.retention,
    r.past, r.worker, r.fingerprint, r.doubt, r.decision, r.result = struct.unpack(HEAD .. TEXTS, stored)
  return r
end

local function absent()
  return {
    state = FREE, held = NO, after_reset = NO, kept = NO, token = NONE, incarnation = NONE, claim = NOBODY,
    rev = 0, last = 0, lease = 0, hard = 0, claimed = 0, begun = 0, completed = 0, ttl = 0, hard_ttl = 0,
    retention = string.rep('\0', 8), past = '', worker = '', fingerprint = '', doubt = '', decision = '', result = '',
  }
end

local function encode(r)
  return struct.pack(HEAD .. TEXTS, r.state, r.held, r.after_reset, r.kept, r.token, r.incarnation, r.claim,
    r.rev, r.last, r.lease, r.hard, r.claimed, r.begun, r.completed, r.ttl, r.hard_ttl, r.retention,
    #r.past, r.past, #r.worker, r.worker, #r.fingerprint, r.fingerprint, #r.doubt, r.doubt,
    #r.decision, r.decision, #r.result, r.result)
end

-- Of a record that somebody holds. Boundaries are expired, everywhere.
local function live(r, now)
  return now < r.lease
end

local function past_retention(r, now)
  return r.state == COMPLETED and r.kept == YES and now >= r.completed + struct.unpack('>I8', r.retention)
end

-- A grant is sixteen digits of token and sixteen bytes of claim id. Both must be the record's. Whoever asks also asks for a
-- state that somebody holds.
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
  r.held, r.claim = NO, NOBODY
end

-- Nobody holds it. What outlives a run stays: token, incarnation, past claim ids, the last decision.
local function free(r)
  fence_out(r)
  r.state, r.kept, r.retention, r.ttl, r.hard_ttl = FREE, NO, string.rep('\0', 8), 0, 0
  r.claimed, r.lease, r.hard, r.begun, r.completed = 0, 0, 0, 0, 0
  r.worker, r.fingerprint, r.doubt, r.result = '', '', '', ''
end

local function next_token(r, now)
  return math.max(tonumber(r.token), floor, now) + 1
end

local function draw(r, now)
  return string.format('%016.0f', next_token(r, now))
end

-- A decision: the token it drew or was taken under, when, and what the operator sent: op id, kind, the token presented,
-- digest, operator, reason.
local function decide(r, now, sent)
  r.decision = r.token .. struct.pack('>I8', now) .. sent
end

-- Whether the last decision begins as `sent` does, over so many bytes.
local function decided(r, sent, bytes)
  return #r.decision > 0 and string.sub(r.decision, 25, 24 + bytes) == string.sub(sent, 1, bytes)
end
local OP_AND_KIND, AND_PRESENTED, AND_DIGEST = 17, 33, 66

local function undecided(state)
  return state == CLAIMED or state == EXECUTING or state == RECONCILING
end

-- The first instant at which a purge may delete the record; nil: never, as it stands. Unchanged for over an hour; a result
-- past its retention; never a tombstone whose incarnation a reset has offered again.
local function due(r)
  if r.state == FREE and r.after_reset == NO then return r.last + HOUR + 1 end
  if r.state == COMPLETED and r.kept == YES then
    return math.max(r.last + HOUR + 1, r.completed + struct.unpack('>I8', r.retention))
  end
end
