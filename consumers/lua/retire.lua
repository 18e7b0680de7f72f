-- Remove a lane that has been empty and unused for a while.
--
-- KEYS[1]  the queue's lanes
-- KEYS[2]  the lane
-- KEYS[3]  the lane's front
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  how long it must have been unused (ms)
--
-- Returns 1 when removed, else 0. Emit looks the lane up in its own script, so a
-- lane that goes here is never written blindly.
-- include lane
-- include meta
local lanes, base, quiet_before = KEYS[1], ARGV[1], now_ms() - tonumber(ARGV[2])

local function pending_in(stream)
  local pending = 0
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    for at = 1, #group, 2 do
      if group[at] == 'pending' then pending = pending + group[at + 1] end
    end
  end
  return pending
end

local function unused(stream)
  local kind = kind_of(stream)
  if kind ~= 'stream' then return kind == 'none' end
  local facts = stream_facts(stream)
  local last = tonumber(string.match(facts['last-generated-id'], '^%d+'))
  return facts.length == 0 and pending_in(stream) == 0 and last < quiet_before
end

-- A delayed job has its lane reserved.
local name = lane_name(base, KEYS[2])
if redis.call('HEXISTS', base .. 'delayed:lanes', name) == 1 then return 0 end
if not (unused(KEYS[2]) and unused(KEYS[3])) then return 0 end
redis.call('ZREM', lanes, name)
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('PUBLISH', base .. 'control', 'lane ' .. name)
return 1
