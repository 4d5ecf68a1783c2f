-- Removes the names whose records are gone from the indexes. Registering a store accepts the records that were
-- dropped; each name that stayed listed would be reported as lost again.
-- KEYS: marker, index, undecided, due, then the record of each name. ARGV: the store, then the names.
local gone = {}
-- If the marker is right, another client has registered the store meanwhile, and what is dropped from then on is
-- reported again.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  for n = 5, #KEYS do
    if redis.call('GETRANGE', KEYS[n], 0, 0) == '' then gone[#gone + 1] = ARGV[n - 3] end
  end
end
if #gone > 0 then
  for n = 2, 4 do redis.call('ZREM', KEYS[n], unpack(gone)) end
end
