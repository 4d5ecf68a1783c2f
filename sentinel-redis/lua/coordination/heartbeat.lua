-- kernel::table::heartbeat, for many leases independently. A lease never gets shorter, and never passes its hard
-- deadline. One that lapsed never revives, while an execution of the same grant does: no other call could have taken
-- it. An abandoned run does not revive either (kernel `heartbeat`, Abandoned): its hard deadline has passed with its
-- end.
local function handle(record, arg)
  local grant, kind = struct.unpack('>c32c1', arg)
  local head = redis.call('GETRANGE', record, 0, 133)
  local changed = NO
  if #head == 134 then
    local r = {}
    r.state, r.held, r.after_reset, r.kept, r.spilled, r.doubted, r.token, r.claim, r.incarnation, r.rev, r.last,
      r.lease, r.hard, r.claimed, r.begun, r.completed, r.ttl = struct.unpack(HEAD, head)
    local now = math.max(clock, r.last)
    local until_then = math.min(now + r.ttl, r.hard)
    local held = matches(r, grant) and (r.state == EXECUTING or r.state == CLAIMED)
    local lapsed = kind == 'l' and not live(r, now)
    if held and now < r.hard and not lapsed and until_then > r.lease then
      redis.call('SETRANGE', record, 54, struct.pack('>I8I8I8', r.rev + 1, now, until_then))
      changed = YES
    end
  end
  return changed, head
end
