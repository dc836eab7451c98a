-- Stands behind outbox_emit.lua: whom scripts tell of what became of sessions.

-- An advertiser's word of an SMS that came in time may come this much later.
local LATE_WORD_MS = 60000

-- A request id alone may say whose number it is about: then the session knows it.
local function number_known(rid)
  if MSISDN == '' then
    local s = redis.call('HMGET', key('s', rid), 'msisdn', 'masked', 'hash')
    MSISDN, MASKED, HASH = s[1] or '', s[2] or '', s[3] or ''
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

-- Nobody knows how this verify ended. What comes to be known of its session later corrects its
-- result; flags: 'q' the advertiser is asked.
local function verify_unknown(rid, flags)
  local s = redis.call('HMGET', key('s', rid), 'st', 'job', 'via', 'route')
  if not s[1] or s[1] == 'verified' then
    return
  end
  redis.call('HSET', key('s', rid), 'vjob', JOB)
  if string.find(flags, 'q', 1, true) and not hasten('poll', s[2] or '', rid, {}) then
    emit('poll', s[3] or s[4], NOW, told(rid, 'pending'))
  end
end

-- name, value, … of these facts.
local function flat(facts)
  local list = {}
  for name, value in pairs(facts) do
    list[#list + 1] = name
    list[#list + 1] = value
  end
  return list
end

-- The session becomes verified: once, and with it the conversion. Whoever knows the code was sent
-- it: a send that was unknown until now is a click after all. facts: what the user sent, of an MO.
-- push_at: when the push is due, unless at once: somebody who knows more may hasten it before.
local function convert(rid, user, facts, push_at)
  local s = key('s', rid)
  if facts and next(facts) then
    redis.call('HSET', s, unpack(flat(facts)))
  end
  if redis.call('HGET', s, 'click') ~= '1' then
    event('click', rid, user)
  end
  redis.call('HSET', s, 'st', 'verified', 'verified_at', NOW, 'click', '1')
  redis.call('HDEL', s, 'mac')
  event('conversion', rid, user)
  local lane = redis.call('HGET', s, 'lane')
  if starts(lane, 'flash:') then
    emit('push', lane, push_at or NOW, told(rid, 'otp_verified'))
  end
  if POSTBACK == '1' then
    emit('postback', 'affiliate:' .. AID, NOW, told(rid, 'otp_verified'))
  end
end

