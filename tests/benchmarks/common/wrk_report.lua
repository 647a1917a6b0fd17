-- Prints wrk's result as one JSON line, latencies in microseconds, errors by kind. Read by common/wrk.py.
local percentiles = {50, 75, 90, 95, 99, 99.9}

function done(summary, latency, requests)
   local parts = {}
   for _, p in ipairs(percentiles) do
      parts[#parts + 1] = string.format('"%s": %d', tostring(p), latency:percentile(p))
   end
   io.write(string.format(
      'WRK {"requests": %d, "duration_us": %d, "bytes": %d, "max_us": %d, "percentiles_us": {%s}, '
      .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
      summary.requests, summary.duration, summary.bytes, latency.max, table.concat(parts, ", "),
      summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status,
      summary.errors.timeout))
end
