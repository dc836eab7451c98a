-- done, dead or dropped -> due, with the whole schedule before it. Its id stays, so whoever is told
-- twice can see it.
-- ARGV after the shared ones: none
local st = redis.call('HGET', task(ID), 'st')
if not st then
  return 'gone'
end
if st == 'running' then
  return st
end
redis.call('HSET', task(ID), 'st', 'due', 'n', 0, 'next', NOW)
redis.call('HDEL', task(ID), 'ended')
redis.call('PEXPIRE', task(ID), TASK_KEEP_MS)
redis.call('ZREM', list('oe'), ID)
due(ID, NOW)
redis.call('ZADD', list('ol'), NOW, ID)
redis.call('PEXPIRE', list('ol'), TASK_KEEP_MS)
redis.call('PUBLISH', P .. 'due', T)
return 'written'
