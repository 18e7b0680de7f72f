-- Record that a delivery is about to run solo (G5).
--
-- KEYS[1]  the delivery's stream
-- KEYS[2]  the job's live bucket
-- ARGV[1]  group
-- ARGV[2]  the consumer
-- ARGV[3]  entry
-- ARGV[4]  delivery count
-- ARGV[5]  job id
-- ARGV[6]  generation
-- ARGV[7]  the stream's name as in the queue's lanes
-- ARGV[8]  at this many earlier solo runs nothing is recorded: it is not to run again
-- ARGV[9]  prefix of the queue's keys
--
-- Returns how many solo runs were recorded before, -1 when it is not ours any more. Of a run
-- that is cancelled, or whose id is another's by now, nothing can be recorded: it counts as
-- having had that many.
-- include fence
-- include live
-- include cancelled
local stream, bucket = KEYS[1], KEYS[2]
local group, consumer, entry, id = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
if not owns(stream, group, entry, consumer, ARGV[4]) then return -1 end
local generation, solo = parse_pointer(redis.call('HGET', bucket, id) or '')
if generation and generation ~= ARGV[6] then return tonumber(ARGV[8]) end
if is_cancelled(ARGV[9], ARGV[7], entry) then return tonumber(ARGV[8]) end
solo = solo or 0
if tonumber(solo) >= tonumber(ARGV[8]) then return tonumber(solo) end
-- The first write must be one that full memory allows.
redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
redis.call('HSET', bucket, id, pointer_to(ARGV[6], solo + 1, ARGV[7], entry))
return tonumber(solo)
