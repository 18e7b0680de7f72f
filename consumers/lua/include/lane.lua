-- Lanes: one stream and its front, with the group of the collector type.

local function kind_of(key) return redis.call('TYPE', key).ok end

local function is_a(key, kind)
  local found = kind_of(key)
  return found == kind or found == 'none'
end

local function lane_name(base, key) return string.sub(key, #base + 6) end

-- How many lanes of this lane's sort (an event's own, or a type's) exist.
local function lanes_alike(lanes, name)
  local of_event, count = string.find(name, '^event%.') ~= nil, 0
  for _, other in ipairs(redis.call('ZRANGE', lanes, 0, -1)) do
    if (string.find(other, '^event%.') ~= nil) == of_event then count = count + 1 end
  end
  return count
end

-- Returns nil when jobs may enter the lane, else why not: L (too many lanes)
-- or T<key> (a foreign value is in the way). most is the limit of each sort.
local function lane_refusal(base, lanes, key, most)
  if not is_a(key, 'stream') then return 'T' .. key end
  local name = lane_name(base, key)
  if redis.call('ZSCORE', lanes, name) then return nil end
  if not is_a(key .. ':front', 'stream') then return 'T' .. key .. ':front' end
  local limit = string.find(name, '^event%.') and most.event_lanes or most.lanes
  if redis.call('ZCARD', lanes) >= limit and lanes_alike(lanes, name) >= limit then return 'L' end
  return nil
end

-- Creates a lane that is not listed yet. The group starts at 0, never at $: what
-- lies in the stream already was emitted by somebody and is still owed a run.
local function open_lane(base, lanes, key, group)
  local name = lane_name(base, key)
  if redis.call('ZSCORE', lanes, name) then return end
  for _, stream in ipairs({ key, key .. ':front' }) do
    local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then error(made.err) end
  end
  redis.call('ZADD', lanes, string.match(name, '(-?%d+)$'), name)
  redis.call('PUBLISH', base .. 'control', 'lane ' .. name)
end
