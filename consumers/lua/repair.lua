-- Make lost groups of a listed lane again, from the first entry on.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the lane
-- ARGV[1]  the lane's name
-- ARGV[2]  group
--
-- Returns how many groups were lost. A higher epoch then tells fences of runs
-- before the loss from those after it.
-- Errors: WRONGTYPE and OOM; a foreign value in the lane or its front does not
-- keep the other from being repaired.
-- include meta
local meta, lanes, lane = KEYS[1], KEYS[2], KEYS[3]
if not redis.call('ZSCORE', lanes, ARGV[1]) then return 0 end
redis.call('HGET', meta, 'epoch')
local lost, failure = 0, nil
for _, stream in ipairs({ lane, lane .. ':front' }) do
  local made = redis.pcall('XGROUP', 'CREATE', stream, ARGV[2], '0', 'MKSTREAM')
  if not made.err then
    lost = lost + 1
  elseif not string.find(made.err, 'BUSYGROUP') then
    failure = made.err
  end
end
if lost > 0 then
  name_epoch(meta, now_ms())
  redis.call('HINCRBY', meta, 'epoch', 1)
end
if failure then return redis.error_reply(failure) end
return lost
