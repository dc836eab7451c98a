-- A shelf of its owner's, new or as it is. KEYS: so, sj. ARGV: 1 owner
local own = redis.call('HGET', KEYS[1], 'own')
if own and own ~= ARGV[1] then
  return 'deposed'
end
redis.call('HSET', KEYS[1], 'own', ARGV[1])
return 'ok'
