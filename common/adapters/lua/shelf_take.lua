-- A shelf from one owner to another. KEYS: so, sj. ARGV: 1 from ('': nobody), 2 to ('': nobody),
-- 3 number: commits of before are late.
-- Answer: {what, owner now}. One without an owner's key, as a server that lost its last writes may
-- have it, is nobody's as long as there is something on it.
local own = redis.call('HGET', KEYS[1], 'own')
if not own and redis.call('EXISTS', KEYS[2]) == 0 then
  return {'gone', ''}
end
if own and own ~= ARGV[1] and own ~= ARGV[2] then
  return {own == '-' and 'gone' or 'deposed', own}
end
if own ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'own', ARGV[2])
end
redis.call('HSET', KEYS[1], 'n', ARGV[3]) -- by the new owner's count, who may have had it before
return {'ok', ARGV[2]}
