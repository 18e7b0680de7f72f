-- Remove a lane that has been empty and unused for a while.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the lane
-- KEYS[4]  the lane's front
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  how long it must have been unused (ms)
--
-- Returns 1 when removed, else 0. Emit looks the lane up in its own script, so a
-- lane that goes here is never written blindly.
-- Errors: WRONGTYPE; nothing is written then.
-- include tell
-- include lane
-- include clock
-- include audits
local meta, listed, lane, front = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, quiet_before = ARGV[1], server_ms() - tonumber(ARGV[2])

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
  local facts = lanes().facts(stream)
  local last = tonumber(string.match(facts['last-generated-id'], '^%d+'))
  return facts.length == 0 and pending_in(stream) == 0 and last < quiet_before
end

-- What a route requires goes with the last of its lanes. What is there of others is left of lanes
-- that somebody else took off the list, and goes along.
local function forget_routes()
  local needed, number = {}, 0
  for _, other in ipairs(redis.call('ZRANGE', listed, 0, -1)) do
    local route = lanes().route_of(other)
    if route and not needed[route] then needed[route], number = true, number + 1 end
  end
  local kept = base .. 'routes'
  if not is_a(kept, 'hash') or redis.call('HLEN', kept) <= number then return end
  local known = redis.call('HGETALL', kept)
  for at = 1, #known, 2 do
    if not needed[known[at]] then redis.call('HDEL', base .. 'routes', known[at]) end
  end
end

local name = lane_name(base, lane)
if not redis.call('ZSCORE', listed, name) then return 0 end
-- A delayed job has its lane reserved.
if redis.call('HEXISTS', base .. 'delayed:lanes', name) == 1 then return 0 end
if not (unused(lane) and unused(front)) then return 0 end
-- A listed lane and its streams come and go in one step: one that is missing was deleted by
-- somebody else, with its jobs. Nobody looks for those of a lane that is not listed.
local was_deleted = kind_of(lane) == 'none' or kind_of(front) == 'none'
if was_deleted and not is_a(meta, 'hash') then return redis.error_reply('WRONGTYPE ' .. meta) end
-- ZREM is first: full memory allows it, and then what follows.
redis.call('ZREM', listed, name)
if was_deleted then ask_for_audit(meta, name) end
redis.call('DEL', lane, front)
if lanes().route_of(name) then forget_routes() end
tell().hint(base, 'lane', name)
return 1
