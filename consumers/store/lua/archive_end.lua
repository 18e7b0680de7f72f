-- Keep how a run ended in a Redis of its own, apart from the queue's.
--
-- KEYS[1]  the job's result
-- KEYS[2]  the generation and delivery that wrote it
-- ARGV[1]  generation
-- ARGV[2]  delivery
-- ARGV[3]  "<generation> <state>[;<facts>] <value>", see include/facts.lua
-- ARGV[4]  how long it is kept (ms)
--
-- Returns 1 when kept, 0 when a later generation or delivery has written already.
-- Errors: WRONGTYPE, OOM; nothing is written then.
-- include fence_of
if is_older(KEYS[2], ARGV[1], ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[4])
return 1
