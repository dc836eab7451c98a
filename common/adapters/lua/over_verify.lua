-- Stands behind tell.lua: the end of a verify whose lease is over. flags: 'q' its state is asked for.
local function verify_over(flags)
  -- A report may have converted while it was at the advertiser: that is its end, too.
  local s = redis.call('HMGET', key('s', j.rid), 'st', 'shared')
  local converted = s[1] == 'verified' and s[2] == j.own
  local code = converted and 'otp_verified' or 'outcome_unknown'
  unlock(j.rid)
  steps(j.rid, #ARGV + 1, 'lease_over', code)
  tell_verify(j.rid, code)
  if not converted then
    verify_unknown(j.rid, flags)
  end
  j.x, j.asked = nil, nil
  redis.call('ZREM', STARTED, JOB)
  ends(converted and 'done' or 'unknown', code, 'lost')
  return answer('ended')
end
