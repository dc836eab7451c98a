-- Stands in front of the outbox's own scripts (docs/callbacks.md). One key is named, the tag's due:;
-- the others share its hash tag. Redis' own clock decides on leases.
local P, T, ID = ARGV[1], ARGV[2], ARGV[3]
local TASKS_KEPT, TASKS_MAX, TASK_KEEP_MS = 4096, 32768, 30 * 86400000

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function list(kind)
  return P .. kind .. ':{' .. T .. '}'
end

local function task(id)
  return P .. 'o:{' .. T .. '}:' .. id
end

local function due(id, at_ms)
  redis.call('ZADD', list('due'), at_ms, id)
  redis.call('PEXPIRE', list('due'), TASK_KEEP_MS)
end

-- It is not due any more and not open.
local function close(id)
  redis.call('ZREM', list('due'), id)
  redis.call('ZREM', list('ol'), id)
end

local function note(o, entry)
  local log = redis.call('HGET', o, 'log')
  log = log and cmsgpack.unpack(log) or {}
  log[#log + 1] = entry
  while #log > 10 do
    table.remove(log, 1)
  end
  redis.call('HSET', o, 'log', cmsgpack.pack(log))
end

-- Done, dead or dropped: kept for keep_ms to be looked at, and those before it that are older go.
local function ends(id, state, keep_ms)
  local o = task(id)
  redis.call('HSET', o, 'st', state, 'ended', NOW)
  redis.call('HDEL', o, 'own', 'lease')
  redis.call('PEXPIRE', o, keep_ms)
  close(id)
  redis.call('ZADD', list('oe'), NOW, id)
  redis.call('PEXPIRE', list('oe'), keep_ms)
  for _, old in ipairs(redis.call('ZRANGE', list('oe'), '-inf', NOW - keep_ms, 'BYSCORE', 'LIMIT', 0,
                                  100)) do
    redis.call('ZREM', list('oe'), old)
    redis.call('DEL', task(old))
  end
end
