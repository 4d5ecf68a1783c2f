-- kernel::table::force_complete. An operator decides that the work was done. A repeated decision finds nothing in
-- doubt.
local function step(r, now, arg)
  local result, checked, media, from = struct.unpack('>I4c0c1I2c0', arg)
  local sent = string.sub(arg, from)
  local op, kind, presented, digest, by, why = struct.unpack('>c16c1c16c33I2c0I2c0', sent)
  if r.state ~= RECONCILING or r.token ~= presented then return end
  -- NotDecodable: it is final, so callers of the key must be able to read it.
  if checked == YES and not decodes(r, media) then return end
  r.state, r.completed, r.result = COMPLETED, now, result
  decide(r, now, sent)
  return { change = 'F', id = op, by = by, why = why, rest = string.sub(result, 1, 5) .. string.sub(digest, 2) }
end
