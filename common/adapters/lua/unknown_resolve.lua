-- Somebody knows what became of a job that is unknown: its result, its session and all that follows
-- become what a report would have made of them.
-- ARGV after the shared ones, up to 20, of which only 1 to 3, 14, 15 and 17 (0) are set: 21 sent,
-- not_sent, verified or not_verified, 22 who says so
-- Answer: {'resolved' or 'gone' or 'known' or 'other' (it is of another op), end, code}
local WORDS = {sent = {'send', 'delivery', 'done', 'otp_sent'},
               not_sent = {'send', 'delivery', 'refused', 'advertiser_error'},
               verified = {'verify', 'verification', 'done', 'otp_verified'},
               not_verified = {'verify', nil, 'refused', 'advertiser_error'}}
local op, what, fin, code = unpack(WORDS[ARGV[21]], 1, 4)
if not j then
  return {'gone', '', ''}
elseif j.st ~= 'ended' or j.fin ~= 'unknown' or j.code == 'pending' then
  redis.call('ZREM', P .. 'uk:{' .. T .. '}', JOB)
  return {'known', j.fin or j.st, j.code or ''}
elseif j.op ~= op then
  return {'other', j.op or '', ''}
end
KEEP_MS, OP = math.max(1, redis.call('PTTL', KEYS[1])), 'resolve'
local rid = j.rid or ''
AID, ROUTE, MASKED = j.aid, j.route, j.masked
local reports = reporting()
local s = reports.session(rid)
VALID_MS = math.max(1000, redis.call('PTTL', key('t', rid)), redis.call('PTTL', key('s', rid)))
SESSION_KEEP_MS = 0
if s then
  reports.ground(s, {masked = '', hash = ''})
end
if ARGV[21] == 'not_sent' then
  slot_back()
  save()
end
steps(rid, #ARGV + 1, 'resolved', ARGV[21] .. ' by ' .. ARGV[22])

-- The session may be a later send's by now; then only the click can be this one's.
local own = s and (op == 'verify' or s.job == JOB)
if own and what then
  local r = {job = JOB .. ':resolved', event = what, code = code, facts = {}, msisdn = '',
             masked = '', hash = '', arid = '', route = s.via or s.route, party = '0'}
  reports.apply(rid, s, r)
elseif s and code == 'otp_sent' and s.click ~= '1' then
  redis.call('HSET', key('s', rid), 'click', '1')
  event('click', rid, s.user)
elseif s and op == 'verify' and starts(s.lane, 'account:') then
  tell_better('result', s.lane, told(rid, code))
end
reports.job_known(JOB, fin, code, op == 'send' and fin == 'done' and rid or nil)
if s and redis.call('HGET', key('s', rid), 'vjob') == JOB then
  redis.call('HDEL', key('s', rid), 'vjob')
end
return {'resolved', fin, code}
