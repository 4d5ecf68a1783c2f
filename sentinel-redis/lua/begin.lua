-- A worker is about to start.
local function step(r, now, grant)
  if not matches(r, grant) or r.state ~= CLAIMED then return end
  if not live(r, now) or now >= r.hard then return end
  r.state, r.begun = EXECUTING, now
  return { change = 'B', id = r.claim }
end
