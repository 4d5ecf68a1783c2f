-- Records without the bytes of their results, which stand last. What stands before them fits.
local function turn(record)
  return NO, redis.call('GETRANGE', record, 0, 8191)
end
