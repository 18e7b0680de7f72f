-- Prepare a queue for a worker: its properties, its default lane, the lane's group.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the worker's default lane
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  the worker's lease (ms), the queue's first worker decides; empty to leave that to it
-- ARGV[3]  group
-- ARGV[4]  name of the stream for dead letters; empty to leave it as it is
--
-- Returns epoch, lease (ms, 0 where there is none) and the name that counts of the stream for
-- dead letters: one is given up for another only where it has no letters, for nobody would find
-- those.
-- Errors: LAYOUT, WRONGTYPE, OOM.
-- include tell
-- include lane
-- include dead
-- include clock
-- include meta
local meta, listed, lane = KEYS[1], KEYS[2], KEYS[3]

local function name_dead(name)
  local stream = letters().stream(ARGV[1])
  if stream == ARGV[1] .. 'dead:' .. name then return end
  if kind_of(stream) ~= 'stream' or redis.call('XLEN', stream) == 0 then
    redis.call('HSET', meta, 'dead', name)
  end
end

local _, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
if not (is_a(lane, 'stream') and is_a(lane .. ':front', 'stream')) then
  return redis.error_reply('WRONGTYPE ' .. lane)
end
lanes().open(ARGV[1], listed, lane, ARGV[3])
name_epoch(meta, now_ms())
if ARGV[2] ~= '' and redis.call('HEXISTS', meta, 'lease') == 0 then
  redis.call('HSET', meta, 'lease', ARGV[2])
end
if ARGV[4] ~= '' then name_dead(ARGV[4]) end
local found = redis.call('HMGET', meta, 'epoch', 'lease', 'dead')
return { tonumber(found[1]), tonumber(found[2] or 0), found[3] or '' }
