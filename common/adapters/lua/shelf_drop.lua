-- A shelf goes that is empty and its owner's. KEYS: so, sj. ARGV: 1 owner, 2 ms that it is known as gone
-- Whoever had it before and stood still since then must not take it for one that was never there.
local own = redis.call('HGET', KEYS[1], 'own')
if own == '-' or not own then
  return 'ok'
end
if own ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 1 then
  return 'deposed'
end
redis.call('HSET', KEYS[1], 'own', '-')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok'
