-- What is due now, for one feeder, and claims whose lease is over, for the reaper (reap.lua). A task
-- stays out of the others' sight for a while, in which it is claimed or comes again. What nobody claims (its lane is gone or full) comes less and less often, up
-- to IDLE_MAX times as rarely, so that a heap of such tasks leaves the others their turn.
-- ARGV after the shared ones: 4 how many at most, 5 for how long, ms
-- Gives {open, how late the oldest is (ms), more (1: yes), {jobs whose lease is over}, in how many ms
-- the next one's is (-1: there is none), id, lane, times fed, id, lane, …}.
local IDLE_MAX, OVER_MAX = 10, 64
local most = tonumber(ARGV[4])
local open = redis.call('ZCARD', list('ol'))
local first = redis.call('ZRANGE', list('ol'), 0, 0, 'WITHSCORES')
local found = redis.call('ZRANGE', list('due'), '-inf', NOW, 'BYSCORE', 'LIMIT', 0, most)
local lease = redis.call('ZRANGE', list('st'), 0, 0, 'WITHSCORES')[2]
local over = {}
if lease then
  redis.call('PEXPIRE', list('st'), TASK_KEEP_MS)
end
if lease and tonumber(lease) <= NOW then
  over = redis.call('ZRANGE', list('st'), '-inf', NOW, 'BYSCORE', 'LIMIT', 0, OVER_MAX)
end
local out = {open, math.max(0, NOW - tonumber(first[2] or NOW)),
             (most > 0 and #found == most) and 1 or 0, over,
             lease and math.max(0, lease - NOW) or -1}
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
