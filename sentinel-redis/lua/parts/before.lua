-- Every script begins with this. The epoch is in the text so that a server that was not checked does not know the
-- script: one that was restarted or promoted answers NOSCRIPT. Epoch {epoch}.
--
-- KEYS: marker, floor, index, undecided, due, touch, causes, then for each item its record and its events.
-- ARGV: the clock's offset (tests move it), whether a barrier follows, how many bytes of a record's name come before
-- its key, then for each item its arguments.

-- The one reading of the clock. It moves within a script, and is read before anything else.
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2] + ARGV[1]

local bucket = redis.call('MGET', KEYS[1], KEYS[2])
if bucket[1] ~= '{store}' then
  return redis.error_reply('SENTINELAMNESIA the marker of this bucket is ' .. (bucket[1] or 'gone'))
end
local floor = tonumber(bucket[2] or 0)
