-- Records without the bytes of their results, which stand last. What stands before them fits.
local function turn(record)
  return struct.pack('>c1I8I8', NO, clock, floor) .. redis.call('GETRANGE', record, 0, 8191)
end
