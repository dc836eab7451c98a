-- A part of a tag's jobs whose outcome is not known, from the newest on.
-- ARGV after the shared ones: 4 how many were seen before
-- Gives {seen (0: all), job, op, route, party, request id, masked number, since, job, …}.
local PART = 100
local from = tonumber(ARGV[4])
local found = redis.call('ZRANGE', list('uk'), from, from + PART - 1, 'REV', 'WITHSCORES')
local out = {#found == 2 * PART and from + PART or 0}
for i = 1, #found, 2 do
  local j = redis.call('GET', P .. 'j:{' .. T .. '}:' .. found[i])
  j = j and cmsgpack.unpack(j)
  if j and j.fin == 'unknown' then
    for _, value in ipairs({found[i], j.op or '', j.route or '', j.aid or '', j.rid or '',
                            j.masked or '', found[i + 1]}) do
      out[#out + 1] = value
    end
  end
end
return out
