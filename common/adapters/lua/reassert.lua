-- – → started, once more: the server that answers now may not have what the last one had, and the
-- worker whose call runs puts its claim back. Any record that came after it is left as it is.
-- ARGV: 1 prefix, 2 tag, 3 job, 4 the claim as its script kept it, 5 what is left of its lease, ms,
-- 6 how long it is kept, ms
-- Answer: 'put'; 'kept' (it is there, or has ended); 'lost' (it is another run's by now)
local j = cmsgpack.unpack(ARGV[4])
local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local there = redis.call('GET', KEYS[1])
if there then
  there = cmsgpack.unpack(there)
  -- What an earlier run left behind was here before the claim: it was overwritten then, too.
  local before = there.fp == j.fp and there.att < j.att and
                 (there.st == 'open' or (there.st == 'started' and there.lease <= NOW))
  if not before then
    return there.own == j.own and 'kept' or there.st == 'started' and 'lost' or 'kept'
  end
end
j.lease = NOW + tonumber(ARGV[5])
redis.call('SET', KEYS[1], cmsgpack.pack(j), 'PX', ARGV[6])
redis.call('ZADD', ARGV[1] .. 'st:{' .. ARGV[2] .. '}', j.lease, ARGV[3])
if j.left then -- a verify: its session, if it is there, is locked
  local S = ARGV[1] .. 's:{' .. ARGV[2] .. '}:' .. j.rid
  local s = redis.call('HMGET', S, 'st', 'lock', 'lock_until')
  if s[1] and (not s[2] or s[2] == j.own or tonumber(s[3]) <= NOW) then
    redis.call('HSET', S, 'lock', j.own, 'lock_until', j.lease)
  end
end
return 'put'
