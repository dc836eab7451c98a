-- due -> running: one attempt of one task, before the first byte to whoever is told.
-- ARGV after the shared ones: 4 the attempt's token, 5 lease ms, 6 attempts at most, 7 keep ms
-- Gives {outcome, kind, lane, rid, party, data, attempts with this one, made at, ms left of the session, its
-- arid}.
local TOKEN, LEASE_MS, MOST, KEEP_MS = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local o = task(ID)
local was = redis.call('HMGET', o, 'st', 'own', 'lease', 'kind', 'lane', 'rid', 'party', 'data', 'n',
                       'at', 'next')
local st, n = was[1], tonumber(was[9] or 0)
if not st then
  close(ID)
  return {'gone'}
end

local function won(count)
  redis.call('HSET', o, 'st', 'running', 'own', TOKEN, 'lease', NOW + LEASE_MS, 'n', count,
             'idle', 0)
  redis.call('PEXPIRE', o, TASK_KEEP_MS)
  due(ID, NOW + LEASE_MS) -- should nobody finish it
  local s = redis.call('HMGET', P .. 's:{' .. T .. '}:' .. was[6], 'exp', 'arid')
  return {'won', was[4], was[5], was[6], was[7], was[8], count, tonumber(was[10]),
          math.max(0, tonumber(s[1] or 0) - NOW), s[2] or ''}
end

if st == 'running' then
  if was[2] == TOKEN then
    return won(n) -- the first answer was lost
  end
  if NOW < tonumber(was[3]) then
    return {'elsewhere'}
  end
  note(o, {NOW, 0, 'lost', 0}) -- its worker died with it
  if n >= MOST then
    ends(ID, 'dead', KEEP_MS)
    return {'ended'}
  end
elseif st ~= 'due' then
  close(ID)
  return {'ended'}
elseif NOW < tonumber(was[11]) then
  due(ID, was[11]) -- fed twice, and meanwhile tried: its time comes
  return {'elsewhere'}
end

-- What is no longer true, or no longer asked: the expiry of what was verified in time, the state of
-- what has its last one.
local s = was[6] ~= '' and redis.call('HGET', P .. 's:{' .. T .. '}:' .. was[6], 'st')
local over = not s or s == 'verified' or s == 'failed'
if (was[4] == 'expiry' and s == 'verified') or (was[4] == 'poll' and over) then
  ends(ID, 'dropped', KEEP_MS)
  return {'ended'}
end
return won(n + 1)
