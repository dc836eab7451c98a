-- running -> done, dead or dropped, or due again; with a line for the task's log and a step for the
-- request's time-line.
-- ARGV after the shared ones: 4 the attempt's token, 5 done, dead, dropped, again or later (again, but
-- no attempt was made), 6 in how many ms, 7 keep ms, 8 http status, 9 a word for what else happened,
-- 10 how long it took, ms
local TOKEN, TO, KEEP_MS = ARGV[4], ARGV[5], tonumber(ARGV[7])
local o = task(ID)
local was = redis.call('HMGET', o, 'st', 'own', 'n', 'rid', 'kind', 'last')
if was[1] ~= 'running' or was[2] ~= TOKEN then
  return was[6] == TOKEN and 'written' or 'lost'
end
if TO ~= 'later' then
  note(o, {NOW, tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])})
end
redis.call('HSET', o, 'last', TOKEN)

local function step(rid)
  local t = P .. 't:{' .. T .. '}:' .. rid
  local said = ARGV[9] ~= '' and ARGV[9] or 'http ' .. ARGV[8]
  redis.call('RPUSH', t, string.format(
    '{"at_ms":%.0f,"step":"callback","job":"%s","op":"callback","detail":"%s %s %s"}', NOW, ID,
    was[5], was[3], said))
  redis.call('LTRIM', t, -100, -1)
  if redis.call('PTTL', t) < 0 then
    redis.call('PEXPIRE', t, KEEP_MS)
  end
end

if TO ~= 'later' and was[4] ~= '' and was[5] ~= 'poll' then
  step(was[4])
end
if TO == 'again' or TO == 'later' then
  local at = NOW + tonumber(ARGV[6])
  redis.call('HSET', o, 'st', 'due', 'next', at)
  redis.call('HDEL', o, 'own', 'lease')
  if TO == 'later' then
    redis.call('HINCRBY', o, 'n', -1)
  end
  due(ID, at)
else
  ends(ID, TO, KEEP_MS)
end
return 'written'
