-- Ask how many solo runs a delivery's job has had, or record how many that are (G5).
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
-- ARGV[8]  how many there are from now on, an empty string to ask only
-- ARGV[9]  prefix of the queue's keys
--
-- Returns how many were recorded before, -1 when the delivery is not ours any more, -2 when
-- nothing can be recorded of the run: it is cancelled, or its id is another's by now.
-- Whoever asks again because a reply was lost says the same number again, and nothing is counted
-- twice: nobody but the holder of the delivery records anything.
-- include fence
-- include live
-- include cancelled
local stream, bucket, solo_runs = KEYS[1], KEYS[2], ARGV[8]
local group, consumer, entry, id = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
if not owns(stream, group, entry, consumer, ARGV[4]) then return -1 end
local generation, before = live().parse(redis.call('HGET', bucket, id) or '')
if generation and generation ~= ARGV[6] then return -2 end
if cancelled().has(ARGV[9], ARGV[7], entry) then return -2 end
before = tonumber(before or 0)
if solo_runs == '' then return before end
-- The first write must be one that full memory allows.
redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
redis.call('HSET', bucket, id, live().pointer(ARGV[6], solo_runs, ARGV[7], entry))
return before
