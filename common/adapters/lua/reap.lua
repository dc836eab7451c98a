-- started -> unknown: the lease is over, and nobody asked for the job again. Also one that was
-- released in doubt, and that no other run took up before its deadline. As the claim of another run
-- ends it where the route does not want it sent again.
-- ARGV: 1 prefix, 2 tag, 3 job; all others are as the claim had them, and stand with it.
-- Answer: 'unknown', 'done' (reports know better), 'gone' (it has ended, or there is none) or 'later'
local ASKED_MS, KEPT_FROM, RUN_SEND_TO, RUN_VERIFY_TO = 1000, 7, 28, 26
local due = tonumber(redis.call('ZSCORE', STARTED, JOB) or 'inf')
if not j or j.st == 'ended' or not j.x then
  redis.call('ZREM', STARTED, JOB)
  return 'gone'
end
local over_at = j.st == 'started' and j.lease or due
if j.asked and NOW < j.asked + ASKED_MS then
  over_at = NOW + ASKED_MS -- another run waits for the lease's end, to send it again
end
if NOW < over_at then
  redis.call('ZADD', STARTED, over_at, JOB)
  return 'later'
end

-- The claim's arguments, up to its facts: those are msgpack, and the only ones with line feeds.
local function arguments(text)
  local at, last = 1, RUN_SEND_TO
  local i = KEPT_FROM
  while i < last do
    local eol = string.find(text, '\n', at, true)
    ARGV[i] = string.sub(text, at, eol - 1)
    at = eol + 1
    if i == 18 and ARGV[i] == 'verify' then
      last = RUN_VERIFY_TO
    end
    i = i + 1
  end
  ARGV[last] = string.sub(text, at)
end

ARGV[4], ARGV[5], ARGV[6] = j.own or '', tostring(j.att), j.fp
arguments(j.x)
TOKEN, ATTEMPT, FP = ARGV[4], j.att, j.fp
LEASE_MS, KEEP_MS, AID, ROUTE, MSISDN = tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10], ARGV[11]
MASKED, HASH, DAY, EVENTS_KEEP_S = ARGV[12], ARGV[13], ARGV[14], ARGV[15]
VALID_MS, SESSION_KEEP_MS = tonumber(ARGV[16]), tonumber(ARGV[17])
OP, POSTBACK, RID = ARGV[18], ARGV[19], j.rid

if OP == 'verify' then
  number_known(RID)
  verify_over(ARGV[26])
else
  local facts, reports = cmsgpack.unpack(ARGV[28]), reporting()
  send_over(ARGV[27], facts, reports, reports.waiting(RID, facts.via))
end
return j.fin
