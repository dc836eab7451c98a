-- All records of one `otpq apply`, or none: only when nobody else applied meanwhile.
-- KEYS: version, network, then one hash a kind
-- ARGV: expected version, channel, then (key's number, name, '+' text or '-')*
-- Answer: {1, new version} written, {0, current version} somebody was faster
local version = redis.call('GET', KEYS[1]) or '0'
if version ~= ARGV[1] then
  return {0, tonumber(version)}
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
-- The time, so that no version comes again when the records were wiped and applied anew.
local time = redis.call('TIME')
local fresh = math.max(tonumber(version) + 1, time[1] * 1000000 + time[2])
version = string.format('%.0f', fresh)
redis.call('SET', KEYS[1], version)
redis.call('PUBLISH', ARGV[2], version)
return {1, fresh}
