-- One broker's beat: its line is written anew, lines of the buried go, all that are there come back
-- with the store's clock. KEYS: brokers. ARGV: 1 channel, 2 token, 3 line (16 characters of beat,
-- then what rarely changes), 4… tokens of the buried
-- Whoever looks for brokers is told when one came, went or says something else about itself.
local was = redis.call('HGET', KEYS[1], ARGV[2])
local news = not was or was:sub(17) ~= ARGV[3]:sub(17)
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
for i = 4, #ARGV do
  if ARGV[i] ~= ARGV[2] and redis.call('HDEL', KEYS[1], ARGV[i]) == 1 then
    news = true
  end
end
if news then
  redis.call('PUBLISH', ARGV[1], '')
end
local clock = redis.call('TIME')
return {clock[1] * 1000 + math.floor(clock[2] / 1000), redis.call('HGETALL', KEYS[1])}
