-- A worker has ended, and this is its result. Expiry does not matter: the rightful worker's truth beats doubt.
local function step(r, now, arg)
  local grant, result = struct.unpack('>c32I4c0', arg)
  if not matches(r, grant) or r.state ~= EXECUTING then return end
  r.state, r.completed, r.result = COMPLETED, now, result
  local late = now >= r.lease and YES or NO
  -- Verdict and code stand first in a result; the log keeps those, and not its bytes.
  return { change = 'D', id = r.claim, rest = string.sub(result, 1, 5) .. late }
end

-- What `step` makes of a run that ends well within its lease, as most do: the record's pieces around what changes.
local function quick(before, arg)
  if not before or string.sub(before, 1, 1) ~= EXECUTING or string.sub(before, 4, 4) == YES then return end
  local token, claim = string.sub(before, 6, 21), string.sub(before, 38, 53)
  local rev, last, lease = struct.unpack('>I8I8I8', before, 54)
  if string.sub(arg, 1, 32) ~= token .. claim or clock < last or clock >= lease then return end
  local _, worker, _, _, _, texts = struct.unpack('>I2c0I2c0I2c0I2c0I2c0', before, 134)
  if #before - texts > 603 then return end
  local stamp = struct.pack('>I8I8', rev + 1, clock)
  return COMPLETED .. string.sub(before, 2, 53) .. stamp .. string.sub(before, 70, 101) .. string.sub(stamp, 9)
    .. string.sub(before, 110, texts - 1) .. string.sub(arg, 33) .. string.sub(before, texts + 4)
    .. struct.pack('>I2', 63 + #worker) .. 'Dxd' .. stamp .. token .. claim .. struct.pack('>I2', #worker) .. worker
    .. NOTHING .. NOTHING .. string.sub(arg, 37, 41) .. NO, COMPLETED, 'D'
end
