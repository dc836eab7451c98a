-- wrk: one send a request, a number of its own each time. arg: path prefix, e.g. "/otp/send?msisdn=".
local prefix, thread_count = "", 0

function setup(thread)
    thread:set("id", thread_count)
    thread_count = thread_count + 1
end

function init(args)
    prefix = args[1]
    math.randomseed(os.time() * 16 + id)
    block = math.random(0, 19999)
    at = 0
end

function request()
    at = at + 1
    if at % 9000 == 0 then
        block = (block + 1) % 20000
    end
    -- Thai mobile numbers: 66, 8 or 9, eight digits; the last four stay under 9000: ordinary for the sandbox
    local number = string.format("66%d%04d%04d", 8 + math.floor(block / 10000), block % 10000, at % 9000)
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
