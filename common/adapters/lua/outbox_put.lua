-- A task that comes from a job of its own, not from a session. Nothing when it is there.
-- ARGV after the shared ones: 4 kind, 5 lane, 6 party, 7 data
local o = task(ID)
if redis.call('EXISTS', o) == 1 then
  return 'written'
end
local open = redis.call('ZCARD', list('ol'))
if open >= TASKS_MAX then
  return 'full'
end
if open + redis.call('ZCARD', list('oe')) >= TASKS_KEPT then
  local old = redis.call('ZPOPMIN', list('oe'))
  if old[1] then
    redis.call('DEL', task(old[1]))
  end
end
redis.call('HSET', o, 'kind', ARGV[4], 'lane', ARGV[5], 'rid', '', 'party', ARGV[6], 'data', ARGV[7],
           'n', 0, 'at', NOW, 'next', NOW, 'st', 'due')
redis.call('PEXPIRE', o, TASK_KEEP_MS)
due(ID, NOW)
redis.call('ZADD', list('ol'), NOW, ID)
redis.call('PEXPIRE', list('ol'), TASK_KEEP_MS)
redis.call('PUBLISH', P .. 'due', T)
return 'written'
