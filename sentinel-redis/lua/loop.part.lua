
local answers, changed = {}, false
for n = 1, #ARGV - 3 do
  answers[n] = turn(KEYS[5 + 2 * n], ARGV[3 + n])
  changed = changed or string.byte(answers[n]) == 49
end
-- A barrier waits for the last write of its connection: without one it would wait for nothing.
if ARGV[2] == YES and not changed then redis.call('SET', KEYS[6], string.format('%.0f', clock)) end
return answers
