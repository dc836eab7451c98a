-- Stands behind shared.lua: what a transition has to tell somebody
-- outside becomes a task of the outbox in the same step, so that neither is there without the other
-- (docs/callbacks.md). o: one task; due: those that go on, by when they are due next; ol: the same, by
-- when they were due first; oe: the ended ones, by when they ended.
local TASKS_KEPT, TASKS_MAX, TASK_KEEP_MS = 4096, 32768, 30 * 86400000

-- The same transition of the same job is the same task, however often its script is sent.
local function task_id(kind, job, rid)
  return T .. string.sub(redis.sha1hex(kind .. ':' .. job .. ':' .. rid), 1, 20)
end

local function task_due(id, at_ms)
  for _, kind in ipairs({'due', 'ol'}) do
    redis.call('ZADD', P .. kind .. ':{' .. T .. '}', at_ms, id)
    redis.call('PEXPIRE', P .. kind .. ':{' .. T .. '}', TASK_KEEP_MS)
  end
  if at_ms <= NOW then
    redis.call('PUBLISH', P .. 'due', T)
  end
end

-- Room for one more: the ended ones go, oldest first; what is due is never thrown away for a new one.
local function task_room()
  local open, ended = redis.call('ZCARD', P .. 'ol:{' .. T .. '}'), P .. 'oe:{' .. T .. '}'
  if open + redis.call('ZCARD', ended) >= TASKS_KEPT then
    local old = redis.call('ZPOPMIN', ended)
    if old[1] then
      redis.call('DEL', key('o', old[1]))
    end
  end
  return open < TASKS_MAX
end

local function packed(fields)
  local kept = {}
  for name, value in pairs(fields) do
    if value and value ~= '' then
      kept[name] = tostring(value)
    end
  end
  return cmsgpack.pack(kept)
end

-- Puts a task into the outbox: kind, lane and fields as docs/callbacks.md has them, to be done at
-- at_ms (NOW: at once). fields: strings by name; rid is one of them. Nothing when it is there.
local function emit(kind, lane, at_ms, fields)
  local id = task_id(kind, JOB, fields.rid or '')
  local o = key('o', id)
  if redis.call('EXISTS', o) == 1 then
    return
  end
  if not task_room() then
    count('callback_lost')
    return
  end
  redis.call('HSET', o, 'kind', kind, 'lane', lane, 'rid', fields.rid or '', 'party', AID, 'data',
             packed(fields), 'n', 0, 'at', NOW, 'next', string.format('%.0f', at_ms), 'st', 'due')
  redis.call('PEXPIRE', o, TASK_KEEP_MS)
  task_due(id, at_ms)
end

-- A task that waits for its time is due now, with these fields over those it has; job: the one that
-- emitted it. False when there is none or an attempt was made: what was told stays told.
local function hasten(kind, job, rid, fields)
  local id = task_id(kind, job, rid)
  local was = redis.call('HMGET', key('o', id), 'st', 'n', 'data')
  if was[1] ~= 'due' or was[2] ~= '0' then
    return false
  end
  local all = cmsgpack.unpack(was[3])
  for name, value in pairs(fields) do
    all[name] = value
  end
  redis.call('HSET', key('o', id), 'data', packed(all), 'next', NOW)
  task_due(id, NOW)
  return true
end
