
local told, answers, changed = {}, {}, false
for n = 1, #ARGV - 3 do
  told[n], answers[n + 1] = turn(KEYS[5 + 2 * n], ARGV[3 + n])
  changed = changed or told[n] == YES
end
-- A barrier waits for the last write of its connection: without one it would wait for nothing.
if ARGV[2] == YES and not changed then redis.call('SET', KEYS[6], string.format('%.0f', clock)) end
answers[1] = struct.pack('>I8I8', clock, floor) .. table.concat(told)
return answers
