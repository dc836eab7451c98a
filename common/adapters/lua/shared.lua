-- Stands in front of every script of a job (docs/redis.md). One key is named, the job's; the others
-- of the number share its hash tag and so its slot. Redis' own clock decides on leases and expiry.
local P, T, JOB, TOKEN = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ATTEMPT, FP = tonumber(ARGV[5]), ARGV[6]
local LEASE_MS, KEEP_MS = tonumber(ARGV[7]), ARGV[8]
local AID, ROUTE, MSISDN = ARGV[9], ARGV[10], ARGV[11]
local MASKED, HASH, DAY, EVENTS_KEEP_S = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local VALID_MS, SESSION_KEEP_MS = tonumber(ARGV[16]), tonumber(ARGV[17])
local OP, RID = ARGV[18], ARGV[19]
local EVENTS_MAX, STEPS_MAX = 10000, 100

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- at: when this run's claim was won; unsure: when that of an earlier run was, which may have sent it;
-- mac, user: of that run's code
local j = redis.call('GET', KEYS[1])
if j then
  j = cmsgpack.unpack(j)
end

local function key(kind, rest)
  return P .. kind .. ':{' .. T .. '}:' .. rest
end

local function seconds(ms)
  return math.max(0, math.ceil(ms / 1000))
end

local function save()
  redis.call('SET', KEYS[1], cmsgpack.pack(j), 'PX', KEEP_MS)
end

local function answer(outcome, wait_ms)
  local r = j or {}
  return {outcome, r.fin or '', r.code or '', r.rid or '', r.arid or '', r.body or '', r.att or 0,
          wait_ms or 0, r.left or -1, r.retry or -1, r.exp or -1, r.again or 0}
end

-- The first of a kind on a day renews both times to live; a day longer than asked, so that nothing
-- ends before a later event of the day has had its time.
local function count(what)
  local c = key('c', DAY)
  if redis.call('HINCRBY', c, ROUTE .. ':' .. AID .. ':' .. what, 1) == 1 then
    redis.call('EXPIRE', c, EVENTS_KEEP_S + 86400)
    redis.call('EXPIRE', P .. 'ev:{' .. T .. '}', EVENTS_KEEP_S + 86400)
  end
end

local function event(kind, rid, user)
  redis.call('XADD', P .. 'ev:{' .. T .. '}', 'MAXLEN', '~', EVENTS_MAX, '*', 'event', kind, 'rid',
             rid, 'aid', AID, 'route', ROUTE, 'number', MASKED, 'hash', HASH, 'user', user or '')
  count(kind)
end

-- The steps in ARGV[from] and after, and then the one that is now.
local function steps(rid, from, step, detail)
  if rid == '' then
    return
  end
  local t = key('t', rid)
  local now = string.format('{"at_ms":%.0f,"step":"%s","job":"%s","op":"%s","detail":"%s"}', NOW,
                            step, JOB, OP, detail)
  local all = {unpack(ARGV, from)}
  all[#all + 1] = now
  if redis.call('RPUSH', t, unpack(all)) > STEPS_MAX then
    redis.call('LTRIM', t, -STEPS_MAX, -1)
  end
  redis.call('PEXPIRE', t, VALID_MS + SESSION_KEEP_MS)
end

local function ends(fin, code, first)
  j.st, j.fin, j.code, j.first = 'ended', fin, code, first
  save()
  count(code)
  return answer(first)
end

-- A claim against what the job's own key says: 'new', 'over' (an earlier run may have sent it: its
-- lease has run out, or it was released as unsure), or the answer.
local function known()
  if not j then
    return 'new'
  end
  if j.fp ~= FP then
    j = nil
    return nil, answer('conflict')
  end
  if j.st == 'ended' then
    return nil, answer(j.own == TOKEN and j.first or 'ended')
  end
  if j.st == 'started' then
    if j.own == TOKEN then
      if OP == 'verify' then
        if redis.call('HGET', key('s', j.rid), 'lock') ~= TOKEN then
          return 'new' -- the lease was over and the session another verify's: as if never claimed
        end
        redis.call('HSET', key('s', j.rid), 'lock_until', NOW + LEASE_MS)
      end
      j.lease = NOW + LEASE_MS -- the first answer was lost: the call begins only now
      save()
      return nil, answer('won')
    end
    if NOW < j.lease then
      return nil, answer('elsewhere', math.min(j.lease - NOW + 1, 200))
    end
    return 'over'
  end
  if ATTEMPT <= j.att then
    return nil, answer('stale')
  end
  return j.unsure and 'over' or 'new'
end

-- May this run end the job? 'yes'; 'again': it did before; 'late': its lease was over and the job
-- was ended as unknown for it; 'lost': it is somebody else's.
local function ours()
  if not j or (j.st == 'started' and j.own == TOKEN) then
    return 'yes'
  end
  if j.st == 'ended' and j.own == TOKEN and j.first == 'lost' then
    return j.corrected and 'lost' or 'late'
  end
  if j.st == 'ended' and j.own == TOKEN then
    return 'again'
  end
  return 'lost'
end

-- Whether the session's last send, by when it was claimed, is newer than this job's.
local function newer(rid)
  return tonumber(redis.call('HGET', key('s', rid), 'at') or 0) > (j.at or NOW)
end

-- The session of a code that was sent, or may have been. A verified one stays what it is; so does
-- what belongs to a newer send, when this one's word comes late: the newest code counts. The first
-- send that is certain is the session's click.
local function session_sent(rid, state, arid, user, mac)
  local s, n = key('s', rid), key('n', AID .. ':' .. ROUTE .. ':' .. MSISDN)
  local ttl = VALID_MS + SESSION_KEEP_MS
  local was = redis.call('HMGET', s, 'st', 'click')
  if was[1] == 'verified' then
    return
  end
  local clicked = was[2] == '1'
  if not newer(rid) then
    redis.call('HSET', s, 'st', state, 'aid', AID, 'route', ROUTE, 'msisdn', MSISDN, 'exp',
               NOW + VALID_MS, 'arid', arid, 'user', user, 'mac', mac, 'at',
               string.format('%.0f', j.at or NOW))
    redis.call('PEXPIRE', s, ttl)
  end
  redis.call('HSET', s, 'click', (clicked or state == 'sent') and '1' or '0')
  local newest = redis.call('GET', n)
  if not newest or newest == rid or not newer(newest) then
    redis.call('SET', n, rid, 'PX', ttl)
  end
  if state == 'sent' and not clicked then
    event('click', rid, user)
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
-- it: a send that was unknown until now is a click after all.
local function convert(rid, user)
  local s = key('s', rid)
  if redis.call('HGET', s, 'click') ~= '1' then
    event('click', rid, user)
  end
  redis.call('HSET', s, 'st', 'verified', 'verified_at', NOW, 'click', '1')
  redis.call('HDEL', s, 'mac')
  event('conversion', rid, user)
end

