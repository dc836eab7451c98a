-- wrk: one send a request, a number of its own each time. arg: path prefix, e.g. "/otp/send?msisdn=".
local prefix, thread_count = "", 0

function setup(thread)
    thread:set("id", thread_count)
    thread_count = thread_count + 1
end

function init(args)
    prefix = args[1]
    math.randomseed(os.time() * 16 + id)
    base = math.random(1, 899)
    at = 0
end

function request()
    at = at + 1
    -- 66 + 3 + 2 + 4 digits; the last four stay under 9000: ordinary numbers of the sandbox
    local number = string.format("66%03d%03d%04d", base, math.floor(at / 9000) % 1000, at % 9000)
    return wrk.format("GET", prefix .. number)
end

local bad = 0
function response(status)
    if status ~= 200 then
        bad = bad + 1
    end
end

function done(summary, latency)
    io.write(string.format("RESULT %.1f %.1f %.1f %d %d\n",
        summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
        summary.requests, summary.errors.status + summary.errors.timeout + summary.errors.connect))
end
