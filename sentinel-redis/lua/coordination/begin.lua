-- kernel::table::begin. A worker is about to start.
local function step(r, now, grant)
  if not matches(r, grant) or r.state ~= CLAIMED then return end
  -- No lease reaches beyond its hard deadline: this is within both.
  if not live(r, now) then return end
  r.state, r.begun = EXECUTING, now
  return { change = 'B', id = r.claim }
end
