-- kernel::table::reconcile. An operator takes an uncertain key.
local function step(r, now, arg)
  local even_if_alive, steal = struct.unpack('>c1c1', arg)
  local sent = string.sub(arg, 3)
  local op, kind, presented, digest, by, why = struct.unpack('>c16c1c16c33I2c0I2c0', sent)
  if decided(r, sent) then return end
  -- A late duplicate must not seize a newer run.
  if r.token ~= presented then return end
  local uncertain = r.state == EXECUTING and (not live(r, now) or even_if_alive == YES)
  if not (uncertain or (r.state == RECONCILING and steal == YES)) then return end
  r.state, r.token = RECONCILING, draw(r, now)
  fence_out(r)
  decide(r, now, sent)
  return { change = 'R', id = op, by = by, why = why }
end
