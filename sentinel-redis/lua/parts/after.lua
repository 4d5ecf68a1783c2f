
local records = {}
for n = 8, #KEYS, 2 do records[#records + 1] = KEYS[n] end
local stored = redis.call('MGET', unpack(records))

-- All records are read, then all items are evaluated, then all is written: a call has each key once.
local adds, begins, ends, dues, drops, later, sets, expiring, changes, caused = {}, {}, {}, {}, {}, {}, {}, {}, {}, {}
local flags, replies = {}, { struct.pack('>I8I8', clock, floor) }
local skipped = ARGV[3] + 1
for n, record in ipairs(records) do
  local before, events = stored[n], KEYS[7 + 2 * n]
  local after, to, change = quick(before, ARGV[3 + n], n)
  local from, at, expiry = before and string.sub(before, 1, 1), nil, nil
  if not after then
    local r = before and decode(before) or absent()
    local now = math.max(clock, r.last)
    local was_kept, was_due = r.kept == YES and from == COMPLETED, due(r)
    -- Beyond the last token nothing is granted; the kernel explains it to the caller.
    local did = math.max(tonumber(r.token), floor, now) + 1 < LAST_TOKEN and step(r, now, ARGV[3 + n], n)
    if did then
      r.rev, r.last = r.rev + 1, now
      -- The newest events are in the record itself, and most records never have more. If they are too long, they move
      -- to a list; and all of them, if the list is nearly full: then their number is known.
      if #r.log > {inline} or (r.spilled == YES and redis.call('LLEN', events) > {spare}) then
        spill(r, events, n, later)
      end
      local worker, by, why, rest = did.worker or r.worker, did.by or '', did.why or '', did.rest or ''
      r.log = r.log .. struct.pack('>I2c1c1c1I8I8c16c16I2c0I2c0I2c0', 57 + #worker + #by + #why + #rest, did.change,
        from or '-', r.state, r.rev, r.last, r.token, did.id, #worker, worker, #by, by, #why, why) .. rest
      after, to, change, at = encode(r), r.state, did.change, due(r)
      if was_due and not at then drops[#drops + 1] = string.sub(record, skipped) end
      if did.caused then caused[#caused + 1] = { did.caused, string.sub(record, skipped - 2), r.origin } end
      if to == COMPLETED and r.kept == YES then
        -- A result with a retention expires by itself, an hour after the retention has ended. No script runs then, so
        -- the floor is raised now. Undecided records, and results without a retention, never expire.
        floor = math.max(floor, tonumber(r.token))
        expiry = string.format('%.0f', struct.unpack('>I8', r.retention) / 1000 + 3600001)
        if r.spilled == YES then later[#later + 1] = { 'PEXPIRE', events, expiry } end
      elseif was_kept and r.spilled == YES then
        later[#later + 1] = { 'PERSIST', events }
      end
    end
  end
  replies[n + 1] = before
  if not after then
    flags[n] = NO
  else
    flags[n] = YES
    local key = string.sub(record, skipped)
    if not from then
      adds[#adds + 1] = '0'
      adds[#adds + 1] = key
    end
    local is = to ~= FREE and to ~= COMPLETED
    local was = from and from ~= FREE and from ~= COMPLETED
    if is and not was then
      begins[#begins + 1] = '0'
      begins[#begins + 1] = key
    elseif was and not is then
      ends[#ends + 1] = key
    end
    if at then
      dues[#dues + 1] = string.format('%.0f', at)
      dues[#dues + 1] = key
    end
    if expiry then
      expiring[#expiring + 1] = { record, after, expiry }
    else
      sets[#sets + 1] = record
      sets[#sets + 1] = after
    end
    if change ~= 'C' and change ~= 'B' then changes[#changes + 1] = record end
  end
end

-- A key that is listed and has no record has expired, if it is due. Otherwise the server has dropped it, and may have
-- dropped others. It has also dropped something if the empty name is not listed: it is in each index since the bucket
-- was marked. Then the bucket loses its marker until an operator registers the store again.
local function enlist()
  local new = redis.call('ZADD', KEYS[3], '0', '', unpack(adds))
  if new == #adds / 2 then return end
  for n = 2, #adds, 2 do
    local at = redis.call('ZSCORE', KEYS[5], adds[n])
    if at and tonumber(at) <= clock then
      new = new + 1
      redis.call('ZREM', KEYS[5], adds[n])
    end
  end
  if new == #adds / 2 then return end
  redis.call('SET', KEYS[1], 'gone: records were dropped')
  error({ err = 'SENTINELAMNESIA records are gone that Sentinel did not delete' })
end

-- Indexes first, records last: should one of these fail, no record has changed.
local written, why = pcall(function()
  if #adds > 0 then enlist() end
  for _, command in ipairs(later) do
    local length = redis.call(unpack(command))
    -- With the one in the record there are too many (kernel `trim`): the caller drops the oldest, with a second script.
    if command.item and length >= {events} then flags[command.item] = LONG end
  end
  if #begins > 0 then redis.call('ZADD', KEYS[4], unpack(begins)) end
  if #ends > 0 then redis.call('ZREM', KEYS[4], unpack(ends)) end
  if #dues > 0 then redis.call('ZADD', KEYS[5], unpack(dues)) end
  if #drops > 0 then redis.call('ZREM', KEYS[5], unpack(drops)) end
  for _, one in ipairs(caused) do one[1](one[2], one[3]) end
  if #expiring > 0 then redis.call('SET', KEYS[2], string.format('%016.0f', floor)) end
  for _, one in ipairs(expiring) do redis.call('SET', one[1], one[2], 'PX', one[3]) end
  if #sets > 0 then redis.call('MSET', unpack(sets)) end
end)
if not written then
  -- A listed key without a record would be taken for one that was dropped; a due key would never be removed.
  for n = 2, #adds, 2 do
    for list = 3, 5 do redis.pcall('ZREM', KEYS[list], adds[n]) end
  end
  -- Redis keeps only the text of an error that was raised as a table, and would put a code of its own before it.
  error({ err = why })
end
-- A barrier waits for the last write of its connection, so there has to be one.
if ARGV[2] == YES and #sets + #expiring == 0 then redis.call('SET', KEYS[6], string.format('%.0f', clock)) end
-- Notifies the waiters of a key. Correctness does not depend on it: a user who must not publish changes the key all
-- the same.
for _, record in ipairs(changes) do redis.pcall('PUBLISH', record, '') end
-- The reply: the clock, the floor before the call, and for each item whether it changed; then the records as they
-- were. Building a string costs by its bytes.
replies[1] = replies[1] .. table.concat(flags)
return replies
