-- started -> queued: provably nothing was sent, or the route wants it sent again although it may
-- have been. Also for a claim whose answer never came, which may still be on its way: what is left
-- here makes it stale when it arrives; then the arguments are the claim's.
-- ARGV after the shared ones, of a release: 19 '1': it may have been sent, 20 code's MAC, 21 user
if j and (j.st == 'ended' or (j.st == 'started' and j.own ~= TOKEN)) then
  return answer('lost')
end
if not j then
  j = {att = ATTEMPT, fp = FP}
end
if j.st == 'started' then
  if OP == 'release' and RID == '1' then
    j.unsure, j.mac, j.user = j.at or NOW, ARGV[20] ~= '' and ARGV[20] or j.mac, ARGV[21]
  end
  if not j.unsure then
    slot_back()
  end
  unlock(j.rid)
end
-- A new session keeps its request id, and what may have been sent all that there is to know of it.
j = {st = 'open', fp = j.fp, att = math.max(j.att, ATTEMPT),
     rid = (j.st == 'open' or j.again == 0 or j.unsure) and j.rid or nil, unsure = j.unsure,
     again = j.unsure and j.again, slot = j.slot, mac = j.mac, user = j.user}
save()
return answer('released')
