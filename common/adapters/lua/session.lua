-- Stands behind outbox_emit.lua: what scripts do to sessions, and whom they tell of it.
-- An advertiser's word of an SMS that came in time may come this much later.
local LATE_WORD_MS = 60000

-- Whether the session's last send, by when it was claimed, is newer than this job's.
local function newer(rid)
  return tonumber(redis.call('HGET', key('s', rid), 'at') or 0) > (j.at or NOW)
end

-- A request id alone may say whose number it is about: then the session knows it.
local function number_known(rid)
  if MSISDN == '' then
    local s = redis.call('HMGET', key('s', rid), 'msisdn', 'masked', 'hash')
    MSISDN, MASKED, HASH = s[1] or '', s[2] or '', s[3] or ''
  end
end

-- The facts and, before them, what else is to be written: name, value, …
local function facts_kept(rid, facts, ...)
  local flat = {...}
  for name, value in pairs(facts) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  if #flat > 0 then
    redis.call('HSET', key('s', rid), unpack(flat))
  end
end

local function word(rid, code)
  return {rid = rid, code = code, route = ROUTE, party = AID, at_ms = string.format('%.0f', NOW)}
end

-- What a task of the outbox knows of a request.
local function told(rid, code)
  local names = {'eid', 'msisdn', 'mobile', 'sender', 'send_time', 'deliver_time', 'sealed', 'ctx',
                 'country', 'ft'}
  local s = redis.call('HMGET', key('s', rid), unpack(names))
  local fields = word(rid, code)
  for i, name in ipairs(names) do
    fields[name] = s[i]
  end
  return fields
end

local function starts(text, with)
  return text and string.sub(text, 1, #with) == with
end

-- Whoever hears of it is told how a send ended. An account, where delivery reports come, by one of
-- them: it brings the task forward; at the latest when the validity ends. flags: 'r' reports come,
-- 'l' the user answers a link, and the advertiser is asked whether.
local function tell_send(rid, fin, code, flags, facts)
  local sent = fin == 'done' or fin == 'unknown'
  local link = sent and string.find(flags, 'l', 1, true)
  if not link and not facts.lane then
    return
  end
  local fields = word(rid, code) -- of this send: the session may be an earlier or a later one's
  for name, value in pairs(facts) do
    fields[name] = value
  end
  fields.msisdn = MSISDN
  if starts(facts.lane, 'account:') then
    local late = sent and string.find(flags, 'r', 1, true)
    emit('status', facts.lane, late and NOW + VALID_MS or NOW, fields)
  elseif starts(facts.lane, 'flash:') and sent then
    emit('expiry', facts.lane, NOW + VALID_MS + (link and LATE_WORD_MS or 0), fields)
  end
  if link then
    emit('poll', facts.via or ROUTE, NOW + 2000, fields)
  end
end

-- This job's end was told as unknown, and now it is known: the task gets the better word while it
-- waits; else another one follows it.
local function tell_better(kind, lane, fields)
  if hasten(kind, JOB, fields.rid, {code = fields.code}) then
    return
  end
  local job = JOB
  JOB = job .. ':better'
  emit(kind, lane, NOW, fields)
  JOB = job
end

-- An account is told of each verify of its request.
local function tell_verify(rid, code, better)
  local lane = rid ~= '' and redis.call('HGET', key('s', rid), 'lane')
  if not starts(lane, 'account:') or code == 'pending' then
    return
  elseif better then
    tell_better('result', lane, told(rid, code))
  else
    emit('result', lane, NOW, told(rid, code))
  end
end

-- The session of a code that was sent, or may have been. A verified one stays what it is; so does
-- what belongs to a newer send, when this one's word comes late: the newest code counts. The first
-- send that is certain is the session's click. facts: fields by name, of this send.
local function session_sent(rid, state, arid, user, mac, facts)
  local s, n = key('s', rid), key('n', AID .. ':' .. ROUTE .. ':' .. MSISDN)
  local ttl = VALID_MS + SESSION_KEEP_MS
  local was = redis.call('HMGET', s, 'st', 'click')
  if was[1] == 'verified' then
    return
  end
  local clicked = was[2] == '1'
  if not newer(rid) then
    if was[1] then
      redis.call('HDEL', s, 'eid', 'via', 'url', 'sealed', 'ctx', 'dlr')
    end
    facts_kept(rid, facts, 'st', state, 'aid', AID, 'route', ROUTE, 'msisdn', MSISDN, 'masked',
               MASKED, 'hash', HASH, 'job', JOB, 'exp', NOW + VALID_MS, 'arid', arid, 'user', user,
               'mac', mac, 'at', string.format('%.0f', j.at or NOW))
    redis.call('PEXPIRE', s, ttl)
  end
  redis.call('HSET', s, 'click', (clicked or state == 'sent') and '1' or '0')
  local newest = MSISDN ~= '' and redis.call('GET', n)
  if MSISDN ~= '' and (not newest or newest == rid or not newer(newest)) then
    redis.call('SET', n, rid, 'PX', ttl)
  end
  if state == 'sent' and not clicked then
    event('click', rid, user, facts.country or '')
  end
end

-- The number was not sent to after all: it does not count for cooldown and sends_max.
local function slot_back()
  if not j.slot then
    return
  end
  local v, kept, gone = key('v', ROUTE .. ':' .. MSISDN), {}, false
  for at in string.gmatch(redis.call('HGET', v, 'sends') or '', '%d+') do
    if not gone and tonumber(at) == j.slot then
      gone = true
    else
      kept[#kept + 1] = at
    end
  end
  if gone then
    redis.call('HSET', v, 'sends', table.concat(kept, ' '))
  end
  j.slot = nil
end

local function unlock(rid)
  local s = key('s', rid)
  if redis.call('HGET', s, 'lock') == j.own then
    redis.call('HDEL', s, 'lock', 'lock_until')
  end
end

-- The session becomes verified: once, and with it the conversion. Whoever knows the code was sent
-- it: a send that was unknown until now is a click after all. facts: what the user sent, of an MO.
local function convert(rid, user, facts)
  local s = key('s', rid)
  facts_kept(rid, facts or {})
  if redis.call('HGET', s, 'click') ~= '1' then
    event('click', rid, user)
  end
  redis.call('HSET', s, 'st', 'verified', 'verified_at', NOW, 'click', '1')
  redis.call('HDEL', s, 'mac')
  event('conversion', rid, user)
  local lane = redis.call('HGET', s, 'lane')
  if starts(lane, 'flash:') then
    emit('push', lane, NOW, told(rid, 'otp_verified'))
  end
  if POSTBACK == '1' then
    emit('postback', 'affiliate:' .. AID, NOW, told(rid, 'otp_verified'))
  end
end

