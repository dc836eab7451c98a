-- dispatched -> started for a verify that the advertiser checks; dispatched -> done or refused, all
-- in one, for a code of otpq's.
-- ARGV after the shared ones (request id '' when there is none of this number): 21 maker (o, a; l: the
-- user answers a link, and the advertiser only says whether), 22 checks, 23 window ms of failures, 24
-- MAC of the code given (o), 25 integration whose advertiser would be called, 26 flags ('q': where its
-- outcome is unknown the state is asked for), 27 facts (msgpack) of an MO, 28.. steps; the reaper reads
-- them by these numbers, too
number_known(RID)
local what, said = known()
if said then
  return said
end
if what == 'over' then
  return verify_over(ARGV[26])
end

local checks_max, S = tonumber(ARGV[22]), key('s', RID)
local s = redis.call('HMGET', S, 'st', 'aid', 'route', 'msisdn', 'exp', 'checks', 'mac', 'arid',
                     'lock', 'lock_until', 'user', 'eid', 'via')
local maker = ARGV[21]
if RID == '' or not s[1] or s[2] ~= AID or s[3] ~= ROUTE or s[4] ~= MSISDN or
   (maker == 'o' and s[1] ~= 'verified' and (s[7] or '') == '') then
  j = {own = TOKEN, att = ATTEMPT, fp = FP}
  return ends('refused', 'request_not_found', 'refused')
end

local function verdict(fin, code, first, left, retry)
  j = {own = TOKEN, att = ATTEMPT, fp = FP, rid = RID, left = left, retry = retry,
       eid = s[12] or nil}
  if code == 'wrong_otp' then
    j.exp = seconds(s[5] - NOW)
  end
  steps(RID, 28, 'session_written', code)
  if maker ~= 'l' or code ~= 'otp_verified' then -- that of a link was told when it became so
    tell_verify(RID, code)
  end
  return ends(fin, code, first)
end

local v, failed, retry = key('v', ROUTE .. ':' .. MSISDN), 0, nil
if maker == 'o' then
  local f = redis.call('HMGET', v, 'failed', 'failed_until')
  if f[1] and NOW < tonumber(f[2]) then
    failed, retry = tonumber(f[1]), seconds(f[2] - NOW)
  end
end
local left = checks_max - tonumber(s[6] or 0)
if s[1] == 'verified' and maker == 'l' then
  return verdict('done', 'otp_verified', 'ended')
elseif s[1] == 'verified' then
  return verdict('refused', 'already_verified', 'refused')
elseif NOW >= tonumber(s[5]) or (maker == 'l' and s[1] == 'failed') then
  return verdict('refused', 'otp_expired', 'refused')
elseif maker == 'l' then
  left, failed = checks_max, 0 -- whoever asks for a state checks no code
elseif left <= 0 then
  return verdict('refused', 'too_many_attempts', 'refused', 0)
elseif checks_max - failed <= 0 then
  return verdict('refused', 'too_many_attempts', 'refused', 0, retry)
end
left = math.min(left, checks_max - failed)

if maker ~= 'o' then
  local via = s[13] or ROUTE
  if via ~= ARGV[25] then -- another advertiser sent the code: the call is made from its lane
    j = {via = via}
    return answer('moved')
  end
  if s[9] and s[9] ~= TOKEN and NOW < tonumber(s[10]) then
    return answer('busy', math.min(s[10] - NOW + 1, 100))
  end
  redis.call('HSET', S, 'lock', TOKEN, 'lock_until', NOW + LEASE_MS)
  j = {st = 'started', own = TOKEN, att = ATTEMPT, fp = FP, lease = NOW + LEASE_MS, rid = RID,
       arid = s[8], left = left, exp = seconds(s[5] - NOW), eid = s[12] or nil,
       x = table.concat(ARGV, '\n', 7, 26)} -- for the reaper
  save()
  redis.call('ZADD', STARTED, j.lease, JOB)
  return answer('won')
end

-- Every byte is looked at, wherever the first difference is.
local given, kept, differ = ARGV[24], s[7], 0
for i = 1, #kept do
  differ = bit.bor(differ, bit.bxor(string.byte(kept, i), string.byte(given, i) or 256))
end
if differ == 0 and #given == #kept then
  redis.call('HDEL', v, 'failed', 'failed_until')
  convert(RID, s[11], cmsgpack.unpack(ARGV[27]))
  return verdict('done', 'otp_verified', 'ended')
end
redis.call('HINCRBY', S, 'checks', 1)
local window = tonumber(ARGV[23])
if failed == 0 then
  redis.call('HSET', v, 'failed', 1, 'failed_until', NOW + window)
else
  redis.call('HINCRBY', v, 'failed', 1)
end
if redis.call('PTTL', v) < window then
  redis.call('PEXPIRE', v, window)
end
return verdict('refused', 'wrong_otp', 'ended', left - 1)
