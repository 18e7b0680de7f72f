-- Lanes: one stream and its front, with the group of the collector type.

local function kind_of(key) return redis.call('TYPE', key).ok end

local function is_a(key, kind)
  local found = kind_of(key)
  return found == kind or found == 'none'
end

-- Returns the facts of a stream by name; none when there is no stream.
local function stream_facts(key)
  local facts, reply = {}, redis.pcall('XINFO', 'STREAM', key)
  for at = 1, #reply, 2 do facts[reply[at]] = reply[at + 1] end
  return facts
end

-- Whether a stream has used up its ids, as one foreign entry can do, or is about to. Looked
-- at once a script: the facts bring the stream's first and last entry along, payloads and all.
local looked_at = {}
local function exhausted(key)
  if looked_at[key] == nil then
    local last = stream_facts(key)['last-generated-id'] or ''
    looked_at[key] = string.find(last, '^18446744073709551615%-') ~= nil
  end
  return looked_at[key]
end

local function lane_name(base, key) return string.sub(key, #base + 6) end

-- Whether a lane (by its name) is that of a single event.
local function is_of_event(name) return string.sub(name, 1, 6) == 'event.' end

-- The group through which a lane's jobs leave it. Behind "~" stands the type of an event's own
-- lane; without one it is that of the default type, else the lane is its type's.
local function group_of(name)
  local who = string.match(name, '^[^:]+')
  if not is_of_event(who) then return who end
  return string.match(who, '~(.+)$') or 'workers'
end

-- Returns name and group of a lane; each is cut out once a script.
local named = {}
local function lane_of(base, key)
  if not named[key] then
    local name = lane_name(base, key)
    named[key] = { name, group_of(name) }
  end
  return named[key][1], named[key][2]
end

-- How many lanes of this lane's sort (an event's own, or a type's) exist.
local function lanes_alike(lanes, name)
  local of_event, count = is_of_event(name), 0
  for _, other in ipairs(redis.call('ZRANGE', lanes, 0, -1)) do
    if is_of_event(other) == of_event then count = count + 1 end
  end
  return count
end

-- The lanes that were seen to exist, each looked at once a script: no script takes one away
-- that it adds to.
local admits, is_open = {}, {}

-- Returns nil when jobs may enter the lane, else why not: L (too many lanes)
-- or T<key> (a foreign value is in the way). most is the limit of each sort;
-- opening, where given, collects the new lanes of a batch that is looked at whole.
local function lane_refusal(base, lanes, key, most, opening)
  if admits[key] then return nil end
  if not is_a(key, 'stream') then return 'T' .. key end
  local name = lane_name(base, key)
  if redis.call('ZSCORE', lanes, name) then
    admits[key] = true
    return nil
  end
  if not is_a(key .. ':front', 'stream') then return 'T' .. key .. ':front' end
  if opening and opening[key] then return nil end
  local more = opening and opening.count or 0
  local limit = is_of_event(name) and most.event_lanes or most.lanes
  if redis.call('ZCARD', lanes) + more >= limit and lanes_alike(lanes, name) + more >= limit then
    return 'L'
  end
  if opening then opening[key], opening.count = true, more + 1 end
  return nil
end

-- Lanes are listed by priority; those of single events above all others, so that these can be
-- asked for without a thousand of them.
local HIGHEST_PRIORITY, ABOVE_TYPES = 100, 1000

local function rank_of(name)
  local priority = tonumber(string.match(name, '(-?%d+)$'))
  return is_of_event(name) and ABOVE_TYPES + priority or priority
end

-- Creates a lane that is not listed yet. The group starts at 0, never at $: what
-- lies in the stream already was emitted by somebody and is still owed a run.
local function open_lane(base, lanes, key, group)
  if is_open[key] then return end
  is_open[key] = true
  local name = lane_name(base, key)
  if redis.call('ZSCORE', lanes, name) then return end
  for _, stream in ipairs({ key, key .. ':front' }) do
    local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then error(made.err) end
  end
  redis.call('ZADD', lanes, rank_of(name), name)
  redis.pcall('PUBLISH', base .. 'control', 'lane ' .. name)
end
