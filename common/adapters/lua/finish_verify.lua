-- started -> done, refused, unknown or expired, for a verify that the advertiser checked: result,
-- session, conversion, counters and time-line at once; the session's lock is given up.
-- ARGV after the shared ones: 21 end, 22 code, 23 user id, 24 checks, 25 result body, 26 maker (a, l),
-- 27 flags as claim_verify.lua has them, 28 facts (msgpack) of what the user sent, 29.. steps
number_known(RID)
local whose = ours()
if whose == 'again' then
  return answer('written')
elseif whose == 'lost' then
  return answer('lost')
end
local fin, code, body, left, expires = ARGV[21], ARGV[22], ARGV[25], nil, nil
local link, facts = ARGV[26] == 'l', cmsgpack.unpack(ARGV[28])
j = j or {att = ATTEMPT, fp = FP, own = TOKEN}
j.x = nil
redis.call('ZREM', STARTED, JOB)
local s = redis.call('HMGET', key('s', RID), 'st', 'exp', 'user', 'eid', 'shared', 'pushed')
if s[1] then
  unlock(RID)
  if s[1] == 'verified' and s[5] == j.own and code ~= 'otp_verified' then
    -- A report converted while this verify was at the advertiser, and left the telling to it.
    if fin == 'unknown' or code == 'pending' then
      fin, code, body = 'done', 'otp_verified', ''
    else
      tell_verify(RID, 'otp_verified', true)
    end
  end
  if s[1] == 'verified' and s[5] == j.own and next(facts) then
    -- The report did not know what the user sent: the push waits for it.
    redis.call('HSET', key('s', RID), unpack(flat(facts)))
    hasten('push', s[6] or '', RID, told(RID, 'otp_verified'))
  end
  if code == 'otp_verified' and s[1] == 'verified' then
    -- A report may have converted while this verify was at the advertiser: it is the same one.
    if not link and s[5] ~= j.own then
      fin, code = 'refused', 'already_verified'
    end
  elseif code == 'otp_verified' then
    convert(RID, s[3] ~= '' and s[3] or ARGV[23], facts)
  elseif code == 'wrong_otp' and not link then
    left = math.max(0, ARGV[24] - redis.call('HINCRBY', key('s', RID), 'checks', 1))
    expires = seconds(s[2] - NOW)
  end
elseif code == 'otp_verified' then
  event('conversion', RID, ARGV[23]) -- the session's time to live ended during the call
end
steps(RID, 29, 'session_written', code)
local known = (whose == 'late' and (j.code == code or j.fin ~= 'unknown')) or
              (link and code == 'otp_verified' and s[1] == 'verified' and s[5] ~= j.own)
if not known then
  tell_verify(RID, code, whose == 'late')
end
if fin == 'unknown' and code ~= 'pending' then
  verify_unknown(RID, ARGV[27])
elseif whose == 'late' and redis.call('HGET', key('s', RID), 'vjob') == JOB then
  redis.call('HDEL', key('s', RID), 'vjob')
end
if whose == 'late' then
  j.corrected = 1
  if j.fin == 'unknown' and fin ~= 'unknown' then -- it was told so, and is known now
    j.fin, j.code, j.body, j.left, j.exp = fin, code, body, left, expires
    redis.call('ZREM', P .. 'uk:{' .. T .. '}', JOB)
  end
  save()
  return answer('lost')
end
j.rid, j.body, j.left, j.exp, j.eid = RID, body, left, expires, s[4] or nil
return ends(fin, code, 'written')
