-- Stands behind tell.lua where reports are applied: when one comes, and when the session of one
-- that came too early is written. r, a report: job (that brought it), event, code, facts (what the
-- user sent), msisdn, masked, hash (of who sent it), arid (the advertiser's id of the request),
-- route (lane that it came in by), party (whose requests it may be about, '0': anybody's).
-- Made when it is needed: each function costs its making.
local function reporting()
  local REPORTS_EACH_MAX, REPORTS_WAIT_MAX, REPORT_STEPS_MAX = 8, 256, 20
  local REPORTS_WAIT_KEEP_MS = 86400000

  -- Who reports must have to do with the request: the integration asked for, or the one that
  -- carried it instead. Whether it arrived, only the one that carried it can know.
  local function report_fits(r, route, via, party)
    local carrier = via or route
    local known = r.route == carrier or (r.route == route and r.event ~= 'delivery')
    return known and (r.party == '0' or r.party == party)
  end

  -- The result of a job that was unknown, now that it is known.
  local function body_known(body, fin, code, rid)
    local all = body and body ~= '' and cmsgpack.unpack(body) or {}
    all.error, all.detail, all.response, all.data = nil, nil, nil, nil
    if fin == 'done' then
      all.response, all.data = code, rid
    else
      all.error = code
    end
    return cmsgpack.pack(all)
  end

  local function body_sent(body, rid)
    return body_known(body, 'done', 'otp_sent', rid)
  end

  -- Whoever asks for the job again hears what is true. rid: a send's; else nil.
  local function job_known(job, fin, code, rid, exp)
    local name = key('j', job)
    local was = redis.call('GET', name)
    was = was and cmsgpack.unpack(was)
    if was and was.st == 'ended' and was.fin == 'unknown' and was.code ~= 'pending' then
      was.fin, was.code, was.body = fin, code, body_known(was.body, fin, code, rid)
      was.exp = exp and seconds(exp - NOW) or was.exp
      redis.call('SET', name, cmsgpack.pack(was), 'KEEPTTL')
      redis.call('ZREM', P .. 'uk:{' .. T .. '}', job)
    end
  end

  local function send_known(s, fin, code, rid)
    if s.job then
      job_known(s.job, fin, code, fin == 'done' and rid or nil, fin == 'done' and s.exp or nil)
    end
  end

  local function verify_known(rid, s, fin, code)
    if s.vjob then
      job_known(s.vjob, fin, code)
      redis.call('HDEL', key('s', rid), 'vjob')
    end
  end

  -- The account's task for the end of its send waits for this; when it told of an unknown before,
  -- the better word follows it.
  local function status_told(rid, s, code)
    local waited = hasten('status', s.job or '', rid, {code = code})
    if not waited and s.st == 'unknown' and starts(s.lane, 'account:') then
      emit('status', s.lane, NOW, told(rid, code))
    end
  end

  local function session_failed(rid, s, code)
    redis.call('HSET', key('s', rid), 'st', 'failed', 'dlr', code)
    status_told(rid, s, code)
    send_known(s, 'refused', code, rid)
    verify_known(rid, s, 'refused', code)
    hasten('expiry', s.job or '', rid, {code = code, err = code})
  end

  -- Once, and with it all that follows. A verify that is at the advertiser now tells of it by
  -- itself, and its user is not told that somebody was faster.
  local function report_converts(rid, s, r)
    if s.st == 'unknown' then
      send_known(s, 'done', 'otp_sent', rid)
      status_told(rid, s, 'otp_sent')
    end
    verify_known(rid, s, 'done', 'otp_verified')
    if r.msisdn ~= '' and MSISDN == '' then
      redis.call('HSET', key('s', rid), 'msisdn', r.msisdn, 'masked', r.masked, 'hash', r.hash)
    end
    local busy = s.lock and NOW < tonumber(s.lock_until or 0)
    convert(rid, s.user, r.facts, busy and tonumber(s.lock_until))
    if busy then
      redis.call('HSET', key('s', rid), 'shared', s.lock, 'pushed', JOB)
    elseif starts(s.lane, 'account:') then
      emit('result', s.lane, NOW, told(rid, 'otp_verified'))
    end
  end

  -- Each answers nil when it changed something or says something new, else why not.
  local report_events = {}

  function report_events.delivery(rid, s, r)
    if r.code == 'otp_sent' and s.st == 'failed' then
      return 'a failure was told before'
    elseif s.dlr == r.code and s.st ~= 'unknown' then
      return 'told before'
    elseif r.code == 'otp_sent' then
      redis.call('HSET', key('s', rid), 'dlr', r.code)
      status_told(rid, s, r.code)
      if s.st == 'unknown' then
        redis.call('HSET', key('s', rid), 'st', 'sent', 'click', '1')
        if s.click ~= '1' then
          event('click', rid, s.user)
        end
        send_known(s, 'done', 'otp_sent', rid)
      end
    elseif r.code == 'pending' or r.code == '' then
      return 'nothing decided'
    elseif s.st == 'verified' then
      return 'verified before'
    elseif s.st == 'failed' then
      return 'told before'
    else
      session_failed(rid, s, r.code)
    end
  end

  function report_events.verification(rid, s, r)
    if s.st == 'verified' then
      return 'verified before'
    elseif r.code == 'pending' or r.code == '' then
      return 'nothing decided'
    elseif r.code == 'otp_verified' then
      report_converts(rid, s, r)
    end
  end

  function report_events.mo(rid, s, r)
    if s.st == 'verified' then
      return 'a second one'
    elseif r.code == 'pending' then
      return 'nothing decided'
    elseif s.st == 'failed' then
      return 'failed before'
    elseif r.code ~= '' and r.code ~= 'otp_verified' then
      session_failed(rid, s, r.code)
    elseif NOW >= tonumber(s.exp) + (r.code == '' and 0 or LATE_WORD_MS) then
      return 'too late' -- an advertiser's word of an SMS in time may take a moment to come
    elseif s.msisdn and s.msisdn ~= '' and r.msisdn ~= '' and s.msisdn ~= r.msisdn then
      return 'from another number'
    else
      report_converts(rid, s, r)
    end
  end

  local function report_session(rid)
    local names = {'st', 'aid', 'route', 'via', 'exp', 'user', 'lane', 'job', 'msisdn', 'masked',
                   'hash', 'click', 'dlr', 'ctx', 'rep', 'lock', 'lock_until', 'arid', 'vjob'}
    local s = {}
    for i, value in ipairs(redis.call('HMGET', key('s', rid), unpack(names))) do
      s[names[i]] = value or nil
    end
    return s.st and s
  end

  -- The session's own party, route and number stand in for the report's; a flash session has no
  -- number before its SMS.
  local function report_ground(s, r)
    AID, ROUTE, MSISDN = s.aid, s.route, s.msisdn or ''
    MASKED, HASH = s.masked or '', s.hash or ''
    if MSISDN == '' then
      MASKED, HASH = r.masked, r.hash
    end
    POSTBACK = s.ctx and s.ctx ~= '' and '1' or '0'
  end

  -- 'applied' or 'ignored'. The same report again is what it was; that of a request which gets ever
  -- more of them stays out of the time-line.
  local function report_apply(rid, s, r)
    local before, whose = string.match(s.rep or '', '^(%S+) (.*)$')
    if whose == r.job then
      return before
    end
    local job, op = JOB, OP
    JOB, OP = r.job, 'report'
    report_ground(s, r)
    if (s.arid or '') == '' and (r.arid or '') ~= '' then -- its answer to the send never came
      redis.call('HSET', key('s', rid), 'arid', r.arid)
    end
    local why = report_events[r.event](rid, s, r)
    local outcome = why and 'ignored' or 'applied'
    redis.call('HSET', key('s', rid), 'rep', outcome .. ' ' .. r.job)
    if redis.call('HINCRBY', key('s', rid), 'reports', 1) <= REPORT_STEPS_MAX then
      steps(rid, #ARGV + 1, why and 'report_ignored' or 'report',
            why or r.event .. (r.code ~= '' and ' ' .. r.code or ''))
    end
    JOB, OP = job, op
    return outcome
  end

  -- For the session that is not written yet. Bounded, by request and by tag: who reports of
  -- requests that never were does not fill the store.
  local function report_waits(rid, r)
    local all, list = P .. 'rq:{' .. T .. '}', key('rp', rid)
    redis.call('ZREMRANGEBYSCORE', all, '-inf', NOW)
    for _, text in ipairs(redis.call('LRANGE', list, 0, -1)) do
      if cmsgpack.unpack(text).job == r.job then
        return 'kept'
      end
    end
    if redis.call('LLEN', list) >= REPORTS_EACH_MAX or
       (not redis.call('ZSCORE', all, rid) and redis.call('ZCARD', all) >= REPORTS_WAIT_MAX) then
      return 'unknown'
    end
    redis.call('RPUSH', list, cmsgpack.pack(r))
    redis.call('PEXPIRE', list, VALID_MS)
    redis.call('ZADD', all, string.format('%.0f', NOW + VALID_MS), rid)
    redis.call('PEXPIRE', all, REPORTS_WAIT_KEEP_MS)
    return 'kept'
  end

  -- What came about the request before its session; via: which other integration carried it, or
  -- nil.
  local function reports_waiting(rid, via)
    local list = {}
    for _, text in ipairs(redis.call('LRANGE', key('rp', rid), 0, -1)) do
      local r = cmsgpack.unpack(text)
      if report_fits(r, ROUTE, via, AID) then
        list[#list + 1] = r
      end
    end
    return list
  end

  -- One of them says that the user has the code: then the send that they are about did go out.
  local function reports_say_sent(list)
    for _, r in ipairs(list) do
      if r.code == 'otp_sent' or r.code == 'otp_verified' or (r.event == 'mo' and r.code == '') then
        return true
      end
    end
    return false
  end

  local function reports_apply(rid, list)
    if #list > 0 then
      redis.call('DEL', key('rp', rid))
      redis.call('ZREM', P .. 'rq:{' .. T .. '}', rid)
    end
    for _, r in ipairs(list) do
      local s = report_session(rid)
      if s then
        report_apply(rid, s, r)
      end
    end
  end

  return {body_sent = body_sent, fits = report_fits, session = report_session,
          ground = report_ground,
          apply = report_apply, wait = report_waits, waiting = reports_waiting,
          say_sent = reports_say_sent, apply_all = reports_apply, job_known = job_known}
end

