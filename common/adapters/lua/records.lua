-- The records of one moment, for a snapshot.
-- KEYS: version, network, affiliates, integrations, endpoints. ARGV: version that the asker has
-- Answer: {version} when it is that one, else {version, network, {name, text, ...} x 3}
local version = redis.call('GET', KEYS[1]) or '0'
if version == ARGV[1] then
  return {tonumber(version)}
end
return {tonumber(version), redis.call('GET', KEYS[2]) or '', redis.call('HGETALL', KEYS[3]),
        redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[5])}
