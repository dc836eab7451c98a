-- started -> queued: provably nothing was sent, or the route wants it sent again although it may
-- have been. Also for a claim whose answer never came, which may still be on its way: what is left
-- here makes it stale when it arrives; then the arguments are the claim's.
-- ARGV after the shared ones, of a release: 20 '1': it may have been sent, 21 code's MAC, 22 user, 23
-- and 24 a last step of the time-line and its detail, if there is to be one, 25 how long the job has
-- still to live, ms, 26.. the steps before
if j and (j.st == 'ended' or (j.st == 'started' and j.own ~= TOKEN)) then
  return answer('lost')
end
local left = OP == 'release' and tonumber(ARGV[25]) or 0
if not j then
  j = {att = ATTEMPT, fp = FP}
end
if j.st == 'started' then
  if OP == 'release' and RID == '1' then
    j.unsure, j.mac, j.user = j.at or NOW, ARGV[21] ~= '' and ARGV[21] or j.mac, ARGV[22]
  end
  if not j.unsure then
    slot_back()
  end
  unlock(j.rid)
  if OP == 'release' and ARGV[23] ~= '' then
    OP = 'send'
    steps(j.rid, 26, ARGV[23], ARGV[24])
  end
end
-- A new session keeps its request id, and what may have been sent all that there is to know of it.
j = {st = 'open', fp = j.fp, att = math.max(j.att, ATTEMPT),
     rid = (j.st == 'open' or j.again == 0 or j.unsure) and j.rid or nil, unsure = j.unsure,
     again = j.unsure and j.again, slot = j.slot, mac = j.mac, user = j.user,
     x = j.unsure and j.x}
if j.x then
  -- Should no other run follow, the reaper ends it behind its deadline.
  redis.call('ZADD', STARTED, NOW + LEASE_MS + left, JOB)
else
  redis.call('ZREM', STARTED, JOB)
end
save()
return answer('released')
