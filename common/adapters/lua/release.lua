-- started -> queued: provably nothing was sent. Also for a claim whose answer never came, which may
-- still be on its way: what is left here makes it stale when it arrives.
if j and (j.st == 'ended' or (j.st == 'started' and j.own ~= TOKEN)) then
  return answer('lost')
end
if not j then
  j = {att = ATTEMPT, fp = FP}
end
if j.st == 'started' then
  slot_back()
  unlock(j.rid)
end
j = {st = 'open', fp = j.fp, att = math.max(j.att, ATTEMPT),
     rid = (j.st == 'open' or j.again == 0) and j.rid or nil} -- a new session keeps its request id
save()
return answer('released')
