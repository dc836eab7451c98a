-- started -> done, refused, unknown or expired, for a send: result, session, click, counters and
-- time-line at once.
-- ARGV after the shared ones: 21 end, 22 code, 23 advertiser's request id, 24 user id, 25 code's MAC
-- ('' unless otpq made it), 26 result body, 27 flags and 28 facts (msgpack) as tell.lua has them,
-- 29.. steps
local whose = ours()
if whose == 'again' then
  return answer('written')
elseif whose == 'lost' then
  return answer('lost')
end
local fin, code, mac = ARGV[21], ARGV[22], ARGV[25]
local flags, facts = ARGV[27], cmsgpack.unpack(ARGV[28])
j = j or {att = ATTEMPT, fp = FP, own = TOKEN}
if j.unsure then
  local unsent = {advertiser_unreachable = 1, internal_error = 1, invalid_request = 1,
                  store_unavailable = 1, rate_limited = 1, conflict = 1}
  if fin == 'expired' or unsent[code] then -- by this run; an earlier one may have
    fin, code, mac, j.at = 'unknown', 'outcome_unknown', j.mac or '', j.unsure
  end
end
j.mac, j.user, j.x, j.asked = nil, nil, nil, nil
redis.call('ZREM', STARTED, JOB)
local went = fin == 'done' or fin == 'unknown'
local body, link = ARGV[26], went and string.find(flags, 'l', 1, true)
local reported = went and redis.call('EXISTS', key('rp', RID)) == 1
local tell = (reported or link or facts.lane) and telling()
local reports = reported and tell.reporting()
local waiting = reports and reports.waiting(RID, facts.via)
if fin == 'unknown' and reports and reports.say_sent(waiting) then
  fin, code, body = 'done', 'otp_sent', reports.body_sent(body, RID)
end
if went then
  session_sent(RID, fin == 'done' and 'sent' or 'unknown', ARGV[23], ARGV[24], mac, facts)
else
  slot_back()
end
steps(RID, 29, 'session_written', code)
if whose ~= 'late' then
  if tell then
    tell.send(RID, fin, code, flags, facts)
  end
elseif fin ~= 'unknown' and j.code ~= code and tell and tell.starts(facts.lane, 'account:') and
       not (fin == 'done' and string.find(flags, 'r', 1, true)) then
  tell.better('status', facts.lane, tell.told(RID, code))
end
if reports then
  reports.apply_all(RID, waiting)
end
if whose == 'late' then
  j.corrected = 1
  if not went and redis.call('HGET', key('s', RID), 'st') == 'unknown' and
     redis.call('HGET', key('s', RID), 'job') == JOB then
    redis.call('HSET', key('s', RID), 'st', 'failed', 'dlr', code)
  end
  if j.fin == 'unknown' and fin ~= 'unknown' then -- it was told so, and is known now
    j.fin, j.code, j.body, j.arid = fin, code, body, ARGV[23]
    j.exp = fin == 'done' and seconds(VALID_MS) or nil
    redis.call('ZREM', P .. 'uk:{' .. T .. '}', JOB)
  end
  save()
  return answer('lost')
end
j.rid, j.body, j.arid = RID, body, ARGV[23]
if fin == 'done' then
  j.exp = seconds(VALID_MS)
end
return ends(fin, code, 'written')
