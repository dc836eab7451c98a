-- started -> done, refused, unknown or expired, for a verify that the advertiser checked: result,
-- session, conversion, counters and time-line at once; the session's lock is given up.
-- ARGV after the shared ones: 20 end, 21 code, 22 user id, 23 checks, 24 result body, 25.. steps
local whose = ours()
if whose == 'again' then
  return answer('written')
elseif whose == 'lost' then
  return answer('lost')
end
local fin, code, left, expires = ARGV[20], ARGV[21], nil, nil
j = j or {att = ATTEMPT, fp = FP, own = TOKEN}
local s = redis.call('HMGET', key('s', RID), 'st', 'exp', 'user')
if s[1] then
  unlock(RID)
  if code == 'otp_verified' and s[1] == 'verified' then
    fin, code = 'refused', 'already_verified'
  elseif code == 'otp_verified' then
    convert(RID, s[3] ~= '' and s[3] or ARGV[22])
  elseif code == 'wrong_otp' then
    left = math.max(0, ARGV[23] - redis.call('HINCRBY', key('s', RID), 'checks', 1))
    expires = seconds(s[2] - NOW)
  end
elseif code == 'otp_verified' then
  event('conversion', RID, ARGV[22]) -- the session's time to live ended during the call
end
steps(RID, 25, 'session_written', code)
if whose == 'late' then
  j.corrected = 1
  save()
  return answer('lost')
end
j.rid, j.body, j.left, j.exp = RID, ARGV[24], left, expires
return ends(fin, code, 'written')
