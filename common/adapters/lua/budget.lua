-- One broker's part of what a route bears, while several brokers send to it (docs/architecture.md).
-- KEYS: bu. ARGV: 1 token, 2 calls at once of the route (0: no limit), 3 thousandths of a call a
-- second of it, 4 calls of this broker in flight, 5 calls that wait here, 6 how long the part holds
-- (ms), 7 how long calls of a broker that fell silent may still run (ms), 8 and 9 its part until now:
-- it goes by that until it has the answer, so that what it loses is free only when it asks again
-- Gives {calls at once, thousandths of a call a second}. Of every broker is kept: what it may have at
-- once, its rate, what it wants, until when.
local ME, AT_ONCE, RATE = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local CALLS, WAITING = tonumber(ARGV[4]), tonumber(ARGV[5])
local HOLD_MS, LINGER_MS = tonumber(ARGV[6]), tonumber(ARGV[7])
local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local want = CALLS + WAITING
local others, names = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local name, part = all[i], cmsgpack.unpack(all[i + 1])
  if name ~= ME and part[4] + LINGER_MS > NOW then
    others[name] = part
    if part[4] > NOW and part[3] > 0 then
      names[#names + 1] = name
    end
  elseif name ~= ME then
    redis.call('HDEL', KEYS[1], name)
  end
end
if want > 0 then
  names[#names + 1] = ME
end
table.sort(names)

-- Who wants gets the same as each other who wants; what does not divide goes round with the seconds,
-- so that a route that bears one call at a time serves them all. What one does not want is the others'.
local n, turn = #names, math.floor(NOW / 1000)
local fair = {}
for rank, name in ipairs(names) do
  local extra = (rank + turn) % n < AT_ONCE % n
  fair[name] = math.floor(AT_ONCE / n) + (extra and 1 or 0)
end
local allowed, free, free_rate = AT_ONCE, AT_ONCE, RATE
for name, part in pairs(others) do
  free = free - part[1]
  if part[4] > NOW then
    free_rate = free_rate - part[2]
    allowed = allowed - math.min(part[3], fair[name] or 0)
  end
end
local at_once, rate = 0, 0
if want > 0 then
  allowed = math.max(allowed, fair[ME])
  at_once = math.max(0, math.min(allowed, free))
  rate = math.max(0, math.min(math.floor(RATE / n), free_rate))
end
local part = {math.max(at_once, math.min(CALLS, AT_ONCE), tonumber(ARGV[8])),
              math.max(rate, tonumber(ARGV[9])), want, NOW + HOLD_MS}
redis.call('HSET', KEYS[1], ME, cmsgpack.pack(part))
redis.call('PEXPIRE', KEYS[1], HOLD_MS + LINGER_MS)
return {at_once, rate}
