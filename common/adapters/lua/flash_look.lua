-- A session as it is now, by the clock that its validity goes by.
-- KEYS: the session. ARGV: the fields that are wanted, the first two st and exp
-- Answer: {} when there is none; else {ms left, the fields' values}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local got = redis.call('HMGET', KEYS[1], unpack(ARGV))
if not got[1] then
  return {}
end
return {math.max(0, tonumber(got[2] or 0) - now), unpack(got, 1, #ARGV)}
