-- Stands behind report_apply.lua: the end of a send whose lease is over, or that was released in
-- doubt, and that is not sent again.
local function send_over(flags, facts, reports, waiting)
  local sent = reports.say_sent(waiting)
  local fin, code = sent and 'done' or 'unknown', sent and 'otp_sent' or 'outcome_unknown'
  j.at = j.unsure or j.at
  if j.again ~= 1 or j.mac then
    session_sent(j.rid, sent and 'sent' or 'unknown', '', j.user or '', j.mac or '', facts)
    tell_send(j.rid, fin, code, flags, facts)
  end
  j.mac, j.user = nil, nil
  steps(j.rid, #ARGV + 1, 'lease_over', code)
  reports.apply_all(j.rid, waiting)
  j.body = sent and reports.body_sent(nil, j.rid) or nil
  j.x, j.asked = nil, nil
  redis.call('ZREM', STARTED, JOB)
  ends(fin, code, 'lost')
  return answer('ended')
end
