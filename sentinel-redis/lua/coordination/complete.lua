-- kernel::table::complete. A worker has ended, and this is its result. It is accepted after expiry too, as long as the
-- grant is current.
local function complete(r, now, arg)
  local grant, result = struct.unpack('>c32I4c0', arg)
  if not matches(r, grant) or r.state ~= EXECUTING then return end
  r.state, r.completed, r.result = COMPLETED, now, result
  local late = now >= r.lease and YES or NO
  -- Verdict and code come first in a result; the log keeps those, and not its bytes.
  return { change = 'D', id = r.claim, rest = string.sub(result, 1, 5) .. late }
end

-- What `complete` makes of a run that ends well within its lease, as most do: the record's pieces around what
-- changes. What the completions of a call have alike is made once.
local like, age, instant, stamp, event, ending
local function quick_complete(before, arg)
  if not before then return end
  local state, _, kept, spilled, _, held_by, _, rev, last, lease = struct.unpack('>c1c2c1c1c1c32c16I8I8I8', before)
  if state ~= EXECUTING or kept == YES or spilled == YES or clock < last or clock >= lease then return end
  local grant, _, verdict = struct.unpack('>c32c4c5', arg)
  if grant ~= held_by then return end
  local _, worker, _, _, _, _, _, texts = struct.unpack('>I2c0I2c0I2c0I2c0I2c0I2c0I2c0', before, 151)
  if #before - texts > {inline} + 3 then return end
  if rev ~= age then
    age, instant = rev, struct.pack('>I8', clock)
    stamp = struct.pack('>I8', rev + 1) .. instant
  end
  if worker ~= like then
    like, event = worker, struct.pack('>I2', 63 + #worker) .. 'Dxd'
    ending = struct.pack('>I2', #worker) .. worker .. NOTHING .. NOTHING
  end
  return COMPLETED .. string.sub(before, 2, 54) .. stamp .. string.sub(before, 71, 102) .. instant
    .. string.sub(before, 111, texts - 1) .. string.sub(arg, 33) .. string.sub(before, texts + 4)
    .. event .. stamp .. grant .. ending .. verdict .. NO, COMPLETED, 'D'
end
