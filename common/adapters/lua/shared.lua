-- Stands in front of every script of a job (docs/redis.md). One key is named, the job's; the others
-- of the request share its hash tag and so its slot. Redis' own clock decides on leases and expiry.
-- AID is the party whose the request is: an affiliate's id, "account:NAME", "token:NAME", or "0".
local P, T, JOB, TOKEN = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ATTEMPT, FP = tonumber(ARGV[5]), ARGV[6]
local LEASE_MS, KEEP_MS = tonumber(ARGV[7]), ARGV[8]
local AID, ROUTE, MSISDN = ARGV[9], ARGV[10], ARGV[11]
local MASKED, HASH, DAY, EVENTS_KEEP_S = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local VALID_MS, SESSION_KEEP_MS = tonumber(ARGV[16]), tonumber(ARGV[17])
-- POSTBACK '1': whose affiliate wants to hear of conversions
local OP, POSTBACK, RID = ARGV[18], ARGV[19], ARGV[20]
local EVENTS_MAX, STEPS_MAX, UNKNOWN_MAX = 10000, 100, 4096

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- at: when this run's claim was won; unsure: when that of an earlier run was, which may have sent it;
-- mac, user: of that run's code
local j = redis.call('GET', KEYS[1])
if j then
  j = cmsgpack.unpack(j)
end

local TAGGED = ':{' .. T .. '}:'

local function key(kind, rest)
  return P .. kind .. TAGGED .. rest
end

local function seconds(ms)
  return math.max(0, math.ceil(ms / 1000))
end

-- Jobs that are started, by the end of their lease: what nobody ends until then, the reaper does.
local STARTED = P .. 'st:{' .. T .. '}'

local kept = ''
local function save()
  kept = cmsgpack.pack(j)
  redis.call('SET', KEYS[1], kept, 'PX', KEEP_MS)
end

-- Who has won is told the record, to put it back should the store forget it.
local function answer(outcome, wait_ms)
  local r = j or {}
  return {outcome, r.fin or '', r.code or '', r.rid or '', r.arid or '', r.body or '', r.att or 0,
          wait_ms or 0, r.left or -1, r.retry or -1, r.exp or -1, r.again or 0, r.eid or '', MSISDN,
          r.via or '', r.unsure and 1 or 0, outcome == 'won' and kept or ''}
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

local function event(kind, rid, user, country)
  redis.call('XADD', P .. 'ev:{' .. T .. '}', 'MAXLEN', '~', EVENTS_MAX, '*', 'event', kind, 'rid',
             rid, 'aid', AID, 'route', ROUTE, 'number', MASKED, 'hash', HASH, 'user', user or '',
             'country', country or redis.call('HGET', key('s', rid), 'country') or '')
  count(kind)
end

-- The steps in ARGV[from] and after, and then the one that is now.
local function steps(rid, from, step, detail)
  if not rid or rid == '' then
    return
  end
  local t = key('t', rid)
  local now = string.format('{"at_ms":%.0f,"step":"%s","job":"%s","op":"%s","detail":"%s"}', NOW,
                            step, JOB, OP, detail)
  local last = #ARGV + 1
  ARGV[last] = now -- only for the call: a longer list would look like more arguments
  local count = redis.call('RPUSH', t, unpack(ARGV, from, last))
  ARGV[last] = nil
  if count > STEPS_MAX then
    redis.call('LTRIM', t, -STEPS_MAX, -1)
  end
  redis.call('PEXPIRE', t, VALID_MS + SESSION_KEEP_MS)
end

local function ends(fin, code, first)
  j.st, j.fin, j.code, j.first = 'ended', fin, code, first
  if fin == 'unknown' and code ~= 'pending' then -- for people, and for whoever comes to know it
    local all = P .. 'uk:{' .. T .. '}'
    redis.call('ZADD', all, NOW, JOB)
    redis.call('ZREMRANGEBYSCORE', all, '-inf', NOW - KEEP_MS)
    if redis.call('ZCARD', all) > UNKNOWN_MAX then
      redis.call('ZPOPMIN', all)
    end
    redis.call('PEXPIRE', all, KEEP_MS)
    j.op, j.aid, j.route, j.masked = OP, AID, ROUTE, MASKED
  end
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
      redis.call('ZADD', STARTED, j.lease, JOB)
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
