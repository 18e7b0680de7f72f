-- Write a line of a running job's log, or its progress.
--
-- KEYS[1]  the delivery's stream
-- KEYS[2]  the job's log (list) or progress (hash)
-- ARGV[1]  group
-- ARGV[2]  the consumer
-- ARGV[3]  entry
-- ARGV[4]  delivery count
-- ARGV[5]  how long it is kept (ms)
-- ARGV[6]  most lines of a log; 0 for progress
-- ARGV[7…] the line; or field and value pairs of the progress
--
-- Returns 1 when written, 0 when the delivery is not ours any more.
-- Errors: WRONGTYPE; nothing is written then.
-- include clock
-- include fence
-- include noted
local stream, note = KEYS[1], KEYS[2]
local group, consumer, entry = ARGV[1], ARGV[2], ARGV[3]
local ttl, most = ARGV[5], tonumber(ARGV[6])
if not string.find(ttl, '^%d+$') or #ttl > 12 then
  return redis.error_reply('ERR ' .. ttl .. ' ms is not a time to live')
end
if not owns(stream, group, entry, consumer, ARGV[4]) then return 0 end
if most > 0 then redis.call('LLEN', note) else redis.call('HLEN', note) end
-- The first write must be one that full memory allows.
redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
write_note(note, ttl, most, 7)
return 1
