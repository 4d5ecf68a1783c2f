
-- A key that is listed and has no record: it expired by itself, or the server has dropped it, and may have dropped others.
-- It has dropped something, too, if the index is new. Then the bucket's marker goes, until somebody has looked.
local function dropped(key, new)
  local at = new == 0 and redis.call('ZSCORE', KEYS[5], key)
  if at and tonumber(at) <= clock then return end
  if new == 2 then redis.call('ZREM', KEYS[3], '') end
  redis.call('ZREM', KEYS[4], key)
  redis.call('ZREM', KEYS[5], key)
  redis.call('SET', KEYS[1], 'gone: records were dropped')
  error({ err = 'SENTINELAMNESIA records are gone that nobody has deleted' })
end

-- Indexes first, record last: should one of them fail, the record has not changed.
local function index(r, from, key, was_due)
  if not from then
    -- The empty name stands in each index since it was marked.
    local new = redis.call('ZADD', KEYS[3], 0, '', 0, key)
    if new ~= 1 then dropped(key, new) end
  end
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
  local now, above = math.max(clock, r.last), floor
  local was_due, was_kept = due(r), r.state == COMPLETED and r.kept == YES
  -- Beyond the last token nothing is granted; whoever asked is told why.
  local told = next_token(r, now) < 9007199254740991 and step(r, now, arg)
  if told then
    r.rev, r.last = r.rev + 1, now
    local written, why = pcall(function()
      index(r, from, key, was_due)
      append(events, r, from, told)
      keep(record, events, r, was_kept)
    end)
    if not written then
      -- What is listed and has no record would be taken for one that was dropped.
      if not from then redis.call('ZREM', KEYS[3], key) end
      error(why, 0)
    end
    -- Whoever waits for this key is told that it is worth a look. Nothing rests on it.
    if told.change ~= 'C' and told.change ~= 'B' then redis.call('PUBLISH', record, r.state) end
  end
  return struct.pack('>c1I8I8', told and YES or NO, clock, above) .. (stored or '')
end
