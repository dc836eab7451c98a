-- Stands behind shared.lua: what scripts write of sessions.

-- The session of a code that was sent, or may have been. A verified one stays what it is; so does
-- what belongs to a newer send, when this one's word comes late: the newest code counts. The first
-- send that is certain is the session's click. facts: fields by name, of this send.
local function session_sent(rid, state, arid, user, mac, facts)
  local s, n = key('s', rid), key('n', AID .. ':' .. ROUTE .. ':' .. MSISDN)
  local ttl = VALID_MS + SESSION_KEEP_MS
  -- A first run's own request id has no session yet.
  local fresh = j.st == 'started' and j.again == 0 and not j.unsure
  local was = fresh and {} or redis.call('HMGET', s, 'st', 'click', 'at')
  if was[1] == 'verified' then
    return
  end
  local at, clicked = j.at or NOW, was[2] == '1'
  local click = (clicked or state == 'sent') and '1' or '0'
  if tonumber(was[3] or 0) > at then
    redis.call('HSET', s, 'click', click)
  else
    if was[1] then
      redis.call('HDEL', s, 'eid', 'via', 'url', 'sealed', 'ctx', 'dlr')
    end
    local all = {'st', state, 'aid', AID, 'route', ROUTE, 'msisdn', MSISDN, 'masked', MASKED,
                 'hash', HASH, 'job', JOB, 'exp', NOW + VALID_MS, 'arid', arid, 'user', user,
                 'mac', mac, 'at', string.format('%.0f', at), 'click', click}
    local count = #all
    for name, value in pairs(facts) do
      all[count + 1], all[count + 2] = name, value
      count = count + 2
    end
    redis.call('HSET', s, unpack(all, 1, count))
    redis.call('PEXPIRE', s, ttl)
  end
  if MSISDN ~= '' then
    local newest = redis.call('SET', n, rid, 'PX', ttl, 'GET')
    if newest and newest ~= rid and
       tonumber(redis.call('HGET', key('s', newest), 'at') or 0) > at then
      redis.call('SET', n, newest, 'PX', ttl) -- it was, and stays so
    end
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

