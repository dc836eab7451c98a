-- A part of a tag's dead letters, the newest first. KEYS: dead:{TAG}
-- ARGV: 1 prefix of the letters' keys, 2 how many were seen before, 3 ended at this moment (ms) or later
-- Gives {seen (0: all), id, entry, state, code, at, id, ...}
local PART = 32
local from = tonumber(ARGV[2])
local ids = redis.call('ZRANGE', KEYS[1], '+inf', ARGV[3], 'BYSCORE', 'REV', 'LIMIT', from, PART)
local out = {#ids == PART and from + PART or 0}
for _, id in ipairs(ids) do
  local l = redis.call('HMGET', ARGV[1] .. id, 'entry', 'state', 'code', 'at')
  if l[1] then
    for _, value in ipairs({id, l[1], l[2] or '', l[3] or '', l[4] or ''}) do
      out[#out + 1] = value
    end
  end
end
return out
