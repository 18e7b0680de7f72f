-- Prepare a queue for a worker: its properties, its default lane, the lane's group.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the worker's default lane
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  the worker's lease (ms); the queue's first worker decides
-- ARGV[3]  group
--
-- Returns epoch and lease (ms).
-- Errors: LAYOUT, WRONGTYPE, OOM.
-- include tell
-- include lane
-- include clock
-- include meta
local meta, listed, lane = KEYS[1], KEYS[2], KEYS[3]
local _, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
if not (is_a(lane, 'stream') and is_a(lane .. ':front', 'stream')) then
  return redis.error_reply('WRONGTYPE ' .. lane)
end
lanes().open(ARGV[1], listed, lane, ARGV[3])
name_epoch(meta, now_ms())
if redis.call('HEXISTS', meta, 'lease') == 0 then redis.call('HSET', meta, 'lease', ARGV[2]) end
local found = redis.call('HMGET', meta, 'epoch', 'lease')
return { tonumber(found[1]), tonumber(found[2]) }
