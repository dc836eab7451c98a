-- A dead letter goes. KEYS: dead:{TAG}. ARGV: 1 prefix of the letters' keys, 2 id. Gives how many there were
local there = redis.call('DEL', ARGV[1] .. ARGV[2])
redis.call('ZREM', KEYS[1], ARGV[2])
return there
