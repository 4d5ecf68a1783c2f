
local records = {}
for n = 7, #KEYS, 2 do records[#records + 1] = KEYS[n] end
local stored = redis.call('MGET', unpack(records))

-- All records are read, then all items are judged, then all is written: a key stands once in a call.
local adds, begins, ends, dues, drops, later, sets, expiring, changes = {}, {}, {}, {}, {}, {}, {}, {}, {}
local told, answers = {}, { struct.pack('>I8I8', clock, floor) }
local skipped = ARGV[3] + 1
for n, record in ipairs(records) do
  local before, events = stored[n], KEYS[6 + 2 * n]
  local after, to, change = quick(before, ARGV[3 + n], n)
  local from, at, expiry = before and string.sub(before, 1, 1), nil, nil
  if not after then
    local r = before and decode(before) or absent()
    local now = math.max(clock, r.last)
    local was_kept, was_due = r.kept == YES and from == COMPLETED, due(r)
    -- Beyond the last token nothing is granted; whoever asked is told why.
    local did = math.max(tonumber(r.token), floor, now) + 1 < LAST_TOKEN and step(r, now, ARGV[3 + n], n)
    if did then
      r.rev, r.last = r.rev + 1, now
      -- The newest events stand in the record itself, and most records never have more. What is too much goes to a list; all
      -- of it, where that is nearly full: then it is known how many there are.
      if #r.log > {inline} or (r.spilled == YES and redis.call('LLEN', events) > {spare}) then
        spill(r, events, n, later)
      end
      local worker, by, why, rest = did.worker or r.worker, did.by or '', did.why or '', did.rest or ''
      r.log = r.log .. struct.pack('>I2c1c1c1I8I8c16c16I2c0I2c0I2c0', 57 + #worker + #by + #why + #rest, did.change,
        from or '-', r.state, r.rev, r.last, r.token, did.id, #worker, worker, #by, by, #why, why) .. rest
      after, to, change, at = encode(r), r.state, did.change, due(r)
      if was_due and not at then drops[#drops + 1] = string.sub(record, skipped) end
      if to == COMPLETED and r.kept == YES then
        -- A result that is kept for a while goes by itself, an hour after nobody is promised it any more. No script runs
        -- then, so the floor rises here and now. What is undecided, or kept for ever, never expires.
        floor = math.max(floor, tonumber(r.token))
        expiry = string.format('%.0f', struct.unpack('>I8', r.retention) / 1000 + 3600001)
        if r.spilled == YES then later[#later + 1] = { 'PEXPIRE', events, expiry } end
      elseif was_kept and r.spilled == YES then
        later[#later + 1] = { 'PERSIST', events }
      end
    end
  end
  answers[n + 1] = before
  if not after then
    told[n] = NO
  else
    told[n] = YES
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

-- A key that is listed and has no record expired by itself, and is due no more: what is due may be gone. Or the server has
-- dropped it, and may have dropped others. It has dropped something, too, if the empty name is not listed: it stands in each
-- index since that was marked. Then the bucket's marker goes, until somebody has looked.
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
  error({ err = 'SENTINELAMNESIA records are gone that nobody has deleted' })
end

-- Indexes first, records last: should one of these fail, no record has changed.
local written, why = pcall(function()
  if #adds > 0 then enlist() end
  for _, command in ipairs(later) do
    local length = redis.call(unpack(command))
    -- With the one in the record there are too many (kernel `trim`): the caller drops the oldest, with a second script.
    if command.item and length >= {events} then told[command.item] = LONG end
  end
  if #begins > 0 then redis.call('ZADD', KEYS[4], unpack(begins)) end
  if #ends > 0 then redis.call('ZREM', KEYS[4], unpack(ends)) end
  if #dues > 0 then redis.call('ZADD', KEYS[5], unpack(dues)) end
  if #drops > 0 then redis.call('ZREM', KEYS[5], unpack(drops)) end
  if #expiring > 0 then redis.call('SET', KEYS[2], string.format('%016.0f', floor)) end
  for _, one in ipairs(expiring) do redis.call('SET', one[1], one[2], 'PX', one[3]) end
  if #sets > 0 then redis.call('MSET', unpack(sets)) end
end)
if not written then
  -- What is listed and has no record would be taken for one that was dropped; what is due, never be struck off.
  for n = 2, #adds, 2 do
    for list = 3, 5 do redis.pcall('ZREM', KEYS[list], adds[n]) end
  end
  -- Of an error that was raised as a table, Redis leaves its text only, and would put a code of its own before that.
  error({ err = why })
end
-- A barrier waits for the last write of its connection: without one it would wait for nothing.
if ARGV[2] == YES and #sets + #expiring == 0 then redis.call('SET', KEYS[6], string.format('%.0f', clock)) end
-- Whoever waits for a key is told that it is worth a look. Nothing rests on it: who must not tell changes it all the same.
for _, record in ipairs(changes) do redis.pcall('PUBLISH', record, '') end
-- The reading, the floor before the call, and for each item whether it changed; then the records as they were. To build a
-- string costs by its bytes.
answers[1] = answers[1] .. table.concat(told)
return answers
