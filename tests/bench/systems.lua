-- wrk: one send a request through one served system. arg: method, path, body, then header lines
-- "Name: value". %s in path or body becomes a phone number, another one each time.
local thread_count = 0

function setup(thread)
    thread:set("id", thread_count)
    thread_count = thread_count + 1
end

function init(args)
    method, path, body = args[1], args[2], args[3]
    headers = {}
    for i = 4, #args do
        local name, value = string.match(args[i], "^([^:]+): (.*)$")
        headers[name] = value
    end
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
    local sent = body ~= "" and string.gsub(body, "%%s", number) or nil
    return wrk.format(method, (string.gsub(path, "%%s", number)), headers, sent)
end

function done(summary, latency)
    io.write(string.format("RESULT %.1f %.1f %.1f %d %d\n",
        summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
        summary.requests, summary.errors.status + summary.errors.timeout + summary.errors.connect))
end
