-- Strikes off the names whose records are gone. Whoever arms a store accepts what was dropped;
-- each name that stayed listed would be missed again, one by one.
-- KEYS: marker, index, undecided, due, then the record of each name. ARGV: the store, then the names.
local gone = {}
-- Where the marker is right, somebody else has armed it meanwhile, and what is dropped from then on is told again.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  for n = 5, #KEYS do
    if redis.call('GETRANGE', KEYS[n], 0, 0) == '' then gone[#gone + 1] = ARGV[n - 3] end
  end
end
if #gone > 0 then
  for n = 2, 4 do redis.call('ZREM', KEYS[n], unpack(gone)) end
end
