-- Write a line of a running job's log, or its progress, in a Redis of its own.
--
-- KEYS[1]  the job's log (list) or progress (hash)
-- KEYS[2]  the generation and delivery that wrote it last
-- ARGV[1]  generation
-- ARGV[2]  delivery
-- ARGV[3]  how long it is kept (ms)
-- ARGV[4]  most lines of a log; 0 for progress
-- ARGV[5…] the line; or field and value pairs of the progress
--
-- Returns 1 when written, 0 when a later generation or delivery has written already.
-- Errors: WRONGTYPE, OOM; nothing is written then.
-- include clock
-- include fence_of
-- include noted
local note, fence, ttl, most = KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[4])
if is_older(fence, ARGV[1], ARGV[2]) then return 0 end
write_note(note, ttl, most, 5)
redis.call('SET', fence, ARGV[1] .. ' ' .. ARGV[2], 'PX', ttl)
return 1
