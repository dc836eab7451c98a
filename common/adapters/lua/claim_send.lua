-- dispatched -> started, before the first byte to whoever delivers the code.
-- ARGV after the shared ones: 21 maker (o: otpq makes the code, a: advertiser), 22 cooldown ms, 23
-- sends_max, 24 window ms, 25 checks, 26 '1': what may have been sent may be sent again, 27 flags and
-- 28 facts (msgpack) as tell.lua has them, 29.. steps; the reaper reads them by these numbers, too
local rid, again, slot, unsure, mac, user = RID, 0, nil, nil, nil, nil
local what, said = known()
if said then
  if said[1] == 'elsewhere' and ARGV[26] == '1' then
    j.asked = NOW -- there is somebody to send it again: the reaper leaves it to them
    save()
  end
  return said
end

local function refuse(code, retry_ms)
  j = {own = TOKEN, att = ATTEMPT, fp = FP, rid = again == 1 and rid or '',
       retry = seconds(retry_ms)}
  steps(j.rid, 29, 'session_written', code)
  return ends('refused', code, 'refused')
end

local tell, reports, facts, waiting, arrived
if what == 'over' then
  tell, facts = telling(), cmsgpack.unpack(ARGV[28])
  reports = tell.reporting()
  waiting = reports.waiting(j.rid, facts.via)
  -- What is known to have arrived is not sent again, unless nobody could check its code.
  arrived = reports.say_sent(waiting) and not tell.starts(ROUTE, 'flash:') and
            (ARGV[21] ~= 'o' or j.mac)
end
if what == 'over' and (ARGV[26] ~= '1' or arrived) then
  return tell.over(ARGV[27], facts, reports, waiting)
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
     again = again, slot = slot, at = NOW, unsure = unsure, mac = mac, user = user,
     x = table.concat(ARGV, '\n', 7, 28)} -- for the reaper
save()
redis.call('ZADD', STARTED, j.lease, JOB)
return answer('won')
