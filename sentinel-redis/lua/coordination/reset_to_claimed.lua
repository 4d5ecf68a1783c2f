-- kernel::table::reset_to_claimed. An operator decides that the work was not done: any caller may run it again. A
-- repeated decision finds a newer token.
local function step(r, now, arg)
  local accept_overlap = struct.unpack('>c1', arg)
  local sent = string.sub(arg, 2)
  local op, kind, presented, digest, by, why = struct.unpack('>c16c1c16c33I2c0I2c0', sent)
  if r.state ~= RECONCILING or r.token ~= presented then return end
  -- EffectsMayLand: an effect of the old run may still land elsewhere.
  if now < r.effects and accept_overlap ~= YES then return end
  r.token = draw(r, now)
  free(r)
  r.after_reset = YES
  decide(r, now, sent)
  return { change = 'Z', id = op, by = by, why = why }
end
