-- What a running job says of itself: a line of its log, or its progress. Needs clock.

-- Writes what stands in ARGV from first on: with most, a line of a log of so many lines; else
-- field and value pairs of the progress.
local function write_note(note, ttl, most, first)
  local at = string.format('%.0f', now_ms())
  if most > 0 then
    redis.call('RPUSH', note, at .. ' ' .. ARGV[first])
    redis.call('LTRIM', note, -most, -1)
  else
    redis.call('HSET', note, 'at', at, unpack(ARGV, first))
  end
  redis.call('PEXPIRE', note, ttl)
end
