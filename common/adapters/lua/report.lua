-- Something came in about a request: a delivery, a verification, or the SMS that its user sent.
-- ARGV after the shared ones (request id '' when nobody's was found; party and number are the
-- report's): 21 event, 22 code, 23 facts (msgpack), 24 the advertiser's request id or ''
-- Answer: {outcome, request id, state of the session, 1 when its validity is over}
local r = {job = JOB, event = ARGV[21], code = ARGV[22], facts = cmsgpack.unpack(ARGV[23]),
           msisdn = MSISDN, masked = MASKED, hash = HASH, arid = ARGV[24], route = ROUTE,
           party = AID}

local function unmatched()
  count(r.event == 'mo' and 'mo_unmatched' or 'report_unmatched')
  return {'unknown', '', '', 0}
end

if RID == '' then
  return unmatched()
end
local reports = reporting()
local s = reports.session(RID)
if s and not reports.fits(r, s.route, s.via, s.aid) then
  return unmatched()
end
if not s then
  local outcome = reports.wait(RID, r)
  if outcome == 'unknown' then
    return unmatched()
  end
  return {outcome, RID, '', 0}
end
local outcome = reports.apply(RID, s, r)
local now = redis.call('HMGET', key('s', RID), 'st', 'exp')
return {outcome, RID, now[1], NOW >= tonumber(now[2]) and 1 or 0}
