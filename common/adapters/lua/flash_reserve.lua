-- A code of a lane becomes one request's, unless another live one has it. What is over may be taken
-- over; until then it is known whose the late SMS is.
-- KEYS: the code's place in the index. ARGV: request id, its validity in ms, how long it is known
-- after that in ms
-- Answer: 1 reserved (or was, by this request), 0 another's
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local was = redis.call('GET', KEYS[1])
if was then
  local rid, ends = string.match(was, '^(%S+) (%d+)$')
  if rid ~= ARGV[1] and now < tonumber(ends) then
    return 0
  end
end
local valid_ms = tonumber(ARGV[2])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', now + valid_ms), 'PX',
           string.format('%.0f', valid_ms + tonumber(ARGV[3])))
return 1
