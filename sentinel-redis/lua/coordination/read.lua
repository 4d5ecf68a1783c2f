-- Reads records as they are.
local records = {}
for n = 8, #KEYS, 2 do records[#records + 1] = KEYS[n] end
local header = struct.pack('>I8I8', clock, floor) .. string.rep(NO, #records)
return { header, unpack(redis.call('MGET', unpack(records))) }
