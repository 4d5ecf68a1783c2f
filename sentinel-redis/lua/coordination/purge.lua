-- The event that an earlier purge left is deleted by the first purge after its rest. Returns whether it stays.
local function rests(gone)
  local left = redis.call('GET', gone)
  if not left or clock <= struct.unpack('>I8', left, 12) + HOUR then return left end
  if ARGV[2] == NO then redis.call('DEL', gone) end
end

-- In most buckets no record has a cause.
local has_causes = redis.call('ZRANGEBYLEX', KEYS[7], '-', '+', 'LIMIT', 0, 1)[1]

-- Deletes a record that is due, and leaves one event of that at the key `gone`.
local function purge(key, record, events, gone)
  local stays = rests(gone)
  local name = string.sub(KEYS[3], -1) .. ':' .. key
  local stored = redis.call('GETRANGE', record, 0, 133)
  if #stored < 134 then
    -- It expired by itself, or was purged: its entries are all that is left.
    if ARGV[2] == NO then
      redis.call('ZREM', KEYS[3], key)
      if has_causes then leave_causes(name) end
      if not stays then redis.call('ZREM', KEYS[5], key) end
    end
    return NO
  end
  local r = {}
  r.state, r.held, r.after_reset, r.kept, r.spilled, r.doubted, r.token, r.claim, r.incarnation, r.rev, r.last, r.lease,
    r.hard, r.claimed, r.begun, r.completed, r.ttl, r.hard_ttl, r.retention = struct.unpack(HEAD, stored)
  -- What is due was changed an hour ago: the clock has not been set back behind that.
  local at = due(r)
  -- What was due is the event that an earlier record left.
  if not at and ARGV[2] == NO then redis.call('ZREM', KEYS[5], key) end
  if not at or clock < at then return NO end
  if ARGV[2] == YES then return YES end
  if tonumber(r.token) > floor then
    floor = tonumber(r.token)
    redis.call('SET', KEYS[2], r.token)
  end
  redis.call('ZREM', KEYS[3], key)
  if has_causes then leave_causes(name) end
  redis.call('ZADD', KEYS[5], string.format('%.0f', clock + HOUR + 1), key)
  redis.call('SET', gone, struct.pack('>c1c1c1I8I8c16c16I2I2I2', 'P', r.state, '-', r.rev + 1, clock, r.token, NO_CLAIM,
    0, 0, 0), 'PX', 2 * HOUR / 1000)
  redis.call('DEL', record, events)
  return YES
end

local replies = {}
for n = 8, #KEYS, 3 do
  replies[#replies + 1] = purge(string.sub(KEYS[n], ARGV[3] + 1), KEYS[n], KEYS[n + 1], KEYS[n + 2])
end
return replies
