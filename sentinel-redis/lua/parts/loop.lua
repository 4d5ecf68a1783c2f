
local flags, replies, changed = {}, {}, false
for n = 1, #ARGV - 3 do
  flags[n], replies[n + 1] = handle(KEYS[6 + 2 * n], ARGV[3 + n])
  changed = changed or flags[n] == YES
end
-- A barrier waits for the last write of its connection, so there has to be one.
if ARGV[2] == YES and not changed then redis.call('SET', KEYS[6], string.format('%.0f', clock)) end
replies[1] = struct.pack('>I8I8', clock, floor) .. table.concat(flags)
return replies
