-- dispatched -> started, before the first byte to whoever delivers the code.
-- ARGV after the shared ones: 21 maker (o: otpq makes the code, a: advertiser), 22 cooldown ms, 23
-- sends_max, 24 window ms, 25 checks, 26 '1': what may have been sent may be sent again, 27 flags and
-- 28 facts (msgpack) as tell.lua has them, 29.. steps
local rid, again, slot, unsure, mac, user = RID, 0, nil, nil, nil, nil
local what, said = known()
if said then
  return said
end

local function refuse(code, retry_ms)
  j = {own = TOKEN, att = ATTEMPT, fp = FP, rid = again == 1 and rid or '',
       retry = seconds(retry_ms)}
  steps(j.rid, 29, 'session_written', code)
  return ends('refused', code, 'refused')
end

local tell, reports, facts, waiting, sent, arrived
if what == 'over' then
  tell, facts = telling(), cmsgpack.unpack(ARGV[28])
  reports = tell.reporting()
  waiting = reports.waiting(j.rid, facts.via)
  sent = reports.say_sent(waiting)
  -- What is known to have arrived is not sent again, unless nobody could check its code.
  arrived = sent and not tell.starts(ROUTE, 'flash:') and (ARGV[21] ~= 'o' or j.mac)
end
if what == 'over' and (ARGV[26] ~= '1' or arrived) then
  j.at = j.unsure or j.at
  local fin, code = sent and 'done' or 'unknown', sent and 'otp_sent' or 'outcome_unknown'
  if j.again ~= 1 or j.mac then
    tell.session_sent(j.rid, sent and 'sent' or 'unknown', '', j.user or '', j.mac or '', facts)
    tell.send(j.rid, fin, code, ARGV[27], facts)
  end
  j.mac, j.user = nil, nil
  steps(j.rid, #ARGV + 1, 'lease_over', code)
  reports.apply_all(j.rid, waiting)
  j.body = sent and reports.body_sent(nil, j.rid) or nil
  ends(fin, code, 'lost')
  return answer('ended')
elseif what == 'over' then
  if ATTEMPT <= j.att then
    return answer('stale')
  end
  rid, again, slot = j.rid, j.again, j.slot -- the same send once more: the limits saw it before
  unsure, mac, user = j.unsure or j.at or NOW, j.mac, j.user
elseif ARGV[21] == 'o' and MSISDN ~= '' then
  local live = redis.call('GET', key('n', AID .. ':' .. ROUTE .. ':' .. MSISDN))
  local s = live and redis.call('HMGET', key('s', live), 'st', 'exp', 'checks', 'aid', 'route')
  if s and s[1] and s[1] ~= 'verified' and NOW < tonumber(s[2]) and
     tonumber(s[3] or 0) < tonumber(ARGV[25]) and s[4] == AID and s[5] == ROUTE then
    rid, again = live, 1
  end
  local cooldown, most, window = tonumber(ARGV[22]), tonumber(ARGV[23]), tonumber(ARGV[24])
  local keep = math.max(cooldown, window)
  local v, sends, inside = key('v', ROUTE .. ':' .. MSISDN), {}, {}
  for text in string.gmatch(redis.call('HGET', v, 'sends') or '', '%d+') do
    local at = tonumber(text)
    if at > NOW - keep then
      sends[#sends + 1] = text
    end
    if at > NOW - window then
      inside[#inside + 1] = at
    end
  end
  if #inside >= most then
    return refuse('too_many_sends', inside[#inside - most + 1] + window - NOW)
  end
  local last = tonumber(sends[#sends] or 0)
  if NOW < last + cooldown then
    return refuse('resend_too_soon', last + cooldown - NOW)
  end
  slot = NOW
  sends[#sends + 1] = string.format('%.0f', NOW)
  redis.call('HSET', v, 'sends', table.concat(sends, ' '))
  redis.call('PEXPIRE', v, keep)
end

if again == 0 and j and j.rid then
  rid = j.rid -- a job keeps its request id over its attempts
end
j = {st = 'started', own = TOKEN, att = ATTEMPT, fp = FP, lease = NOW + LEASE_MS, rid = rid,
     again = again, slot = slot, at = NOW, unsure = unsure, mac = mac, user = user}
save()
return answer('won')
