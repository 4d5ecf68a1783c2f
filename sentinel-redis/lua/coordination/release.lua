-- kernel::table::release. A worker gives its claim back; one that began only if it vouches that nothing happened, and
-- never after it reported that it does not know.
local function step(r, now, arg)
  local grant, vouched = struct.unpack('>c32c1', arg)
  if not matches(r, grant) then return end
  local began = r.state == EXECUTING
  if not (r.state == CLAIMED or (began and vouched == YES and r.doubt == '')) then return end
  local worker, id = r.worker, r.claim
  free(r)
  -- The next claim is a new attempt: a provider must not replay what it answered to this one.
  if began then r.incarnation, r.after_reset = NONE, NO end
  return { change = 'L', id = id, worker = worker, rest = began and YES or NO }
end
