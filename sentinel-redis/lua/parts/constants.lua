-- The values are written into the scripts in place of their names, because a local that functions close over costs
-- more than a constant.
local FREE = 'f'
local CLAIMED = 'c'
local EXECUTING = 'x'
local COMPLETED = 'd'
local RECONCILING = 'r'
local YES = '1'
local NO = '0'
local LONG = '2'
local NONE = '0000000000000000'
local NO_CLAIM = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local NEVER = '\0\0\0\0\0\0\0\0'
local FIRST = '\0\0\0\0\0\0\0\1'
local NOTHING = '\0\0'
local HOUR = 3600000000
local NO_TRACE = '00000000000000000000000000000000'
local LAST_TOKEN = 9007199254740991
-- A record: fixed numbers first, so that a heartbeat reads and writes only the head of those; texts after them, each
-- after its length; the result; and last the newest events. Tokens are sixteen decimal digits, which no double rounds;
-- the other numbers are microseconds and counts, all below 2^53.
local HEAD = '>c1c1c1c1c1c1c16c16c16I8I8I8I8I8I8I8I8I8c8'
local RECORD = '>c1c1c1c1c1c1c16c16c16I8I8I8I8I8I8I8I8I8c8I8I8I2c0I2c0I2c0I2c0I2c0I2c0I2c0I4c0'
