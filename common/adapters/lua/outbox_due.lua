-- What is due now, for one feeder: it stays out of the others' sight for a while, in which it is
-- claimed or comes again. What nobody claims (its lane is gone or full) comes less and less often, up
-- to IDLE_MAX times as rarely, so that a heap of such tasks leaves the others their turn.
-- ARGV after the shared ones: 4 how many at most, 5 for how long, ms
-- Gives {open, how late the oldest is (ms), more (1: yes), id, lane, times fed, id, lane, …}.
local IDLE_MAX = 10
local most = tonumber(ARGV[4])
local open = redis.call('ZCARD', list('ol'))
local first = redis.call('ZRANGE', list('ol'), 0, 0, 'WITHSCORES')
local found = redis.call('ZRANGE', list('due'), '-inf', NOW, 'BYSCORE', 'LIMIT', 0, most)
local out = {open, math.max(0, NOW - tonumber(first[2] or NOW)), #found == most and 1 or 0}
for _, id in ipairs(found) do
  local lane = redis.call('HGET', task(id), 'lane')
  if lane then
    local idle = redis.call('HINCRBY', task(id), 'idle', 1)
    redis.call('ZADD', list('due'), NOW + ARGV[5] * math.min(idle, IDLE_MAX), id)
    out[#out + 1], out[#out + 2] = id, lane
    out[#out + 1] = redis.call('HINCRBY', task(id), 'fed', 1)
  else
    close(id)
  end
end
return out
