-- A broker goes in order: its line with it. KEYS: brokers. ARGV: 1 channel, 2 token
if redis.call('HDEL', KEYS[1], ARGV[2]) == 1 then
  redis.call('PUBLISH', ARGV[1], '')
end
return 'ok'
