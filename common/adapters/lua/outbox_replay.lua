-- done, dead, dropped, running and lost, or due again after an attempt -> due, with the whole schedule before it. Its
-- id stays, so whoever is told twice can see it. What was never tried waits for its time: an expiry is not true before.
-- ARGV after the shared ones: none
local was = redis.call('HMGET', task(ID), 'st', 'lease', 'n')
if not was[1] then
  return 'gone'
end
if was[1] == 'running' and NOW < tonumber(was[2]) then
  return was[1]
end
if was[1] == 'due' and tonumber(was[3] or 0) == 0 then
  return was[1]
end
redis.call('HSET', task(ID), 'st', 'due', 'n', 0, 'next', NOW)
redis.call('HDEL', task(ID), 'ended', 'own', 'lease', 'idle')
redis.call('PEXPIRE', task(ID), TASK_KEEP_MS)
redis.call('ZREM', list('oe'), ID)
due(ID, NOW)
redis.call('ZADD', list('ol'), NOW, ID)
redis.call('PEXPIRE', list('ol'), TASK_KEEP_MS)
redis.call('PUBLISH', P .. 'due', T)
return 'written'
