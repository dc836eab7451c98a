-- A part of one of a tag's two lists, from the newest on: ol, by when they were due first, or oe, by
-- when they ended.
-- ARGV after the shared ones: 4 ol or oe, 5 how many were seen before, 6 a state or '', 7 a lane or ''
-- Gives {seen (0: all), id, kind, lane, state, attempts, made at, next, log, id, …}.
local PART = 100
local from = tonumber(ARGV[5])
local ids = redis.call('ZRANGE', list(ARGV[4]), from, from + PART - 1, 'REV')
local out = {#ids == PART and from + PART or 0}
for _, id in ipairs(ids) do
  local o = redis.call('HMGET', task(id), 'kind', 'lane', 'st', 'n', 'at', 'next', 'log')
  if o[1] and (ARGV[6] == '' or o[3] == ARGV[6]) and (ARGV[7] == '' or o[2] == ARGV[7]) then
    for _, value in ipairs({id, o[1], o[2], o[3], o[4], o[5], o[6], o[7] or ''}) do
      out[#out + 1] = value
    end
  end
end
return out
