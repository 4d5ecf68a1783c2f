
local answers, changed = {}, false
for n = 1, #ARGV - 3 do
  local done, answer = pcall(turn, KEYS[5 + 2 * n], KEYS[6 + 2 * n], ARGV[3 + n])
  if not done then answer = 'e' .. (type(answer) == 'table' and answer.err or tostring(answer)) end
  changed = changed or string.sub(answer, 1, 1) == YES
  answers[n] = answer
end
-- A barrier waits for the last write of its connection: without one it would wait for nothing.
if ARGV[2] == YES and not changed then redis.call('SET', KEYS[6], string.format('%.0f', clock)) end
return answers
