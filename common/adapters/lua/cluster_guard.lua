-- Stands in front of every script that a node of a Redis Cluster is sent (docs/redis.md, "Cluster").
-- While a slot moves, its keys lie on two nodes, and Redis ends a script that asks for one that has
-- gone, after whatever it wrote before: a torn transition. A key of the slot that never exists tells:
-- where it is simply missing, the whole slot is here, and stays here while the script runs; on a
-- moving slot it is said to be elsewhere, and nothing was written yet.
if KEYS[1] then
  local slot = string.match(KEYS[1], '^[^{]*{[^}]+}') or '{' .. KEYS[1] .. '}'
  local here = redis.pcall('EXISTS', slot .. '?')
  if type(here) == 'table' and here.err then
    if string.find(here.err, 'non local key', 1, true) then
      return redis.error_reply('TRYAGAIN the slot is being moved to another node')
    end
    return here
  end
end

