-- kernel::table::cancel. The caller's function did not run and will not. The caller may never have received its token.
local function step(r, now, id)
  local mine = (r.state == CLAIMED or r.state == EXECUTING) and r.claim == id and r.doubt == ''
  if not mine and (remembers(r, id) or r.state ~= FREE) then return end
  local worker = r.worker
  free(r)
  remember(r, id)
  return { change = 'N', id = id, worker = worker }
end
