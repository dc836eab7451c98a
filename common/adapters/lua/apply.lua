-- All records of one `otpq apply`, or none: only when nobody else applied meanwhile.
-- KEYS: version, network, affiliates, integrations, endpoints
-- ARGV: expected version, channel, then (key's number, name, '+' text or '-')*
-- Answer: {1, new version} written, {0, current version} somebody was faster
local version = tonumber(redis.call('GET', KEYS[1]) or '0')
if version ~= tonumber(ARGV[1]) then
  return {0, version}
end
for i = 3, #ARGV, 3 do
  local key, name, text = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]
  if key == KEYS[2] then
    if text == '-' then
      redis.call('DEL', key)
    else
      redis.call('SET', key, string.sub(text, 2))
    end
  elseif text == '-' then
    redis.call('HDEL', key, name)
  else
    redis.call('HSET', key, name, string.sub(text, 2))
  end
end
version = redis.call('INCR', KEYS[1])
redis.call('PUBLISH', ARGV[2], version)
return {1, version}
