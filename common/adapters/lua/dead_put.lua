-- A dead letter, once. KEYS: dead:{TAG}. ARGV: 1 prefix of the letters' keys, 2 id, 3 entry, 4 state,
-- 5 code, 6 at ms, 7 keep ms, 8 most of them
local letter = ARGV[1] .. ARGV[2]
redis.call('HSET', letter, 'entry', ARGV[3], 'state', ARGV[4], 'code', ARGV[5], 'at', ARGV[6])
redis.call('PEXPIRE', letter, ARGV[7])
redis.call('ZADD', KEYS[1], ARGV[6], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
for _, old in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', '(' .. (ARGV[6] - ARGV[7]), 'BYSCORE')) do
  redis.call('ZREM', KEYS[1], old)
end
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[8])
if over > 0 then
  local old = redis.call('ZPOPMIN', KEYS[1], over)
  for i = 1, #old, 2 do
    redis.call('DEL', ARGV[1] .. old[i])
  end
end
return 'ok'
