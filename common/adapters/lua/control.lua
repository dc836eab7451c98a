-- What operators say about a route, a broker or everything, so that all brokers follow.
-- KEYS: controls. ARGV: 1 channel, 2 name, 3 word or '' (nothing any more), 4 who, 5 how many at most
-- Answer: what stood there before, '' nothing; 'full': nothing was written
local was = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
elseif was == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  return 'full'
else
  local time = redis.call('TIME')
  local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3] .. ' ' .. at .. ' ' .. ARGV[4])
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return was
