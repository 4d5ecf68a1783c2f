-- kernel::table::evict. An operator frees a claim or a lease whose holder will not come back. A repeated decision finds
-- a newer token than it names.
local function step(r, now, sent)
  local op, kind, presented, digest, by, why = struct.unpack('>c16c1c16c33I2c0I2c0', sent)
  if r.token ~= presented or r.state ~= CLAIMED then return end
  r.token = draw(r, now)
  free(r)
  decide(r, now, sent)
  return { change = 'E', id = op, by = by, why = why }
end
