
-- Indexes first, record last: should one of them fail, the record has not changed.
local function index(r, from, key, was_due)
  if not from then redis.call('ZADD', KEYS[3], 0, key) end
  local is, was = undecided(r.state), from and undecided(from)
  if is and not was then redis.call('ZADD', KEYS[4], 0, key) end
  if was and not is then redis.call('ZREM', KEYS[4], key) end
  local at = due(r)
  if at then
    redis.call('ZADD', KEYS[5], string.format('%.0f', at), key)
  elseif was_due then
    redis.call('ZREM', KEYS[5], key)
  end
end

local function append(events, r, from, told)
  local worker, by, why = told.worker or r.worker, told.by or '', told.why or ''
  local event = struct.pack('>c1c1c1I8I8c16c16I2c0I2c0I2c0', told.change, from or '-', r.state, r.rev, r.last, r.token,
    told.id, #worker, worker, #by, by, #why, why) .. (told.rest or '')
  if redis.call('RPUSH', events, event) > {events} then redis.call('LTRIM', events, -{events}, -1) end
end

-- A result that is kept for a while goes by itself, an hour after nobody is promised it any more. No script runs then, so
-- the floor rises here and now. What is undecided, or kept for ever, never expires.
local function keep(record, events, r, was_kept)
  if r.state ~= COMPLETED or r.kept ~= YES then
    if was_kept then redis.call('PERSIST', events) end
    redis.call('SET', record, encode(r))
    return
  end
  if tonumber(r.token) > floor then
    floor = tonumber(r.token)
    redis.call('SET', KEYS[2], r.token)
  end
  local expiry = string.format('%.0f', struct.unpack('>I8', r.retention) / 1000 + 3600001)
  redis.call('PEXPIRE', events, expiry)
  redis.call('SET', record, encode(r), 'PX', expiry)
end

local function turn(record, events, arg)
  local key = string.sub(record, ARGV[3] + 1)
  local stored = redis.call('GET', record)
  local r = stored and decode(stored) or absent()
  local from = stored and r.state
  local now = math.max(clock, r.last)
  local was_due, was_kept = due(r), r.state == COMPLETED and r.kept == YES
  -- Beyond the last token nothing is granted; whoever asked is told why.
  local told = next_token(r, now) < 9007199254740991 and step(r, now, arg)
  if told then
    r.rev, r.last = r.rev + 1, now
    index(r, from, key, was_due)
    append(events, r, from, told)
    keep(record, events, r, was_kept)
    -- Whoever waits for this key is told that it is worth a look. Nothing rests on it.
    if told.change ~= 'C' and told.change ~= 'B' then redis.call('PUBLISH', record, r.state) end
  end
  return struct.pack('>c1I8I8', told and YES or NO, clock, floor) .. (stored or '')
end
