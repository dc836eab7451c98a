-- Entries onto a shelf and off it, if it is still its owner's.
-- KEYS: so, sj. ARGV: 1 owner, 2 number of this commit, 3 how many entries, 4… id and entry of each,
-- then the ids that go. A commit that comes behind a later one, on a connection that was given up,
-- does nothing: what it says was said again since then.
local was = redis.call('HMGET', KEYS[1], 'own', 'n')
if was[1] ~= ARGV[1] then
  return 'deposed'
end
local number, puts = tonumber(ARGV[2]), tonumber(ARGV[3])
if number < tonumber(was[2] or 0) then
  return 'late'
end
redis.call('HSET', KEYS[1], 'n', ARGV[2])
local from = 4 + 2 * puts
if puts > 0 then
  redis.call('HSET', KEYS[2], unpack(ARGV, 4, from - 1))
end
if from <= #ARGV then
  redis.call('HDEL', KEYS[2], unpack(ARGV, from))
end
return 'ok'
