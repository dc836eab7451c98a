-- The records of one moment, for a snapshot.
-- KEYS: version, network, then one hash a kind. ARGV: version that the asker has
-- Answer: {version} when it is that one, else {version, network, {name, text, ...} a kind}
local version = redis.call('GET', KEYS[1]) or '0'
if version == ARGV[1] then
  return {tonumber(version)}
end
local all = {tonumber(version), redis.call('GET', KEYS[2]) or ''}
for i = 3, #KEYS do
  all[i] = redis.call('HGETALL', KEYS[i])
end
return all
