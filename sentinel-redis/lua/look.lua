-- Records as they are.
local records, answers = {}, {}
for n = 7, #KEYS, 2 do records[#records + 1] = KEYS[n] end
local said = NO .. struct.pack('>I8I8', clock, floor)
for n, stored in ipairs(redis.call('MGET', unpack(records))) do answers[n] = said .. (stored or '') end
return answers
