-- started -> done, refused, unknown or expired, for a send: result, session, click, counters and
-- time-line at once.
-- ARGV after the shared ones: 20 end, 21 code, 22 advertiser's request id, 23 user id, 24 code's MAC
-- ('' unless otpq made it), 25 result body, 26.. steps
local whose = ours()
if whose == 'again' then
  return answer('written')
elseif whose == 'lost' then
  return answer('lost')
end
local fin, code, mac = ARGV[20], ARGV[21], ARGV[24]
j = j or {att = ATTEMPT, fp = FP, own = TOKEN}
local unsent = fin == 'expired' or code == 'advertiser_unreachable' or code == 'internal_error'
if j.unsure and unsent then -- by this run; an earlier one may have
  fin, code, mac, j.at = 'unknown', 'outcome_unknown', j.mac or '', j.unsure
end
j.mac, j.user = nil, nil
if fin == 'done' or fin == 'unknown' then
  session_sent(RID, fin == 'done' and 'sent' or 'unknown', ARGV[22], ARGV[23], mac)
else
  slot_back()
end
steps(RID, 26, 'session_written', code)
if whose == 'late' then
  j.corrected = 1
  save()
  return answer('lost')
end
j.rid, j.body, j.arid = RID, ARGV[25], ARGV[22]
if fin == 'done' then
  j.exp = seconds(VALID_MS)
end
return ends(fin, code, 'written')
