-- Lanes: one stream and its front, with the group of the collector type.

local function kind_of(key) return redis.call('TYPE', key).ok end

local function is_a(key, kind)
  local found = kind_of(key)
  return found == kind or found == 'none'
end

local function lane_name(base, key) return string.sub(key, #base + 6) end

-- Whether the streams of lanes are listed, each looked at once a script: no script takes a lane
-- away that it adds to. False for one that may yet be opened.
local opened = {}

-- Whether jobs may enter a lane and nothing has to be made for them first.
local function is_open(base, listed, key)
  if opened[key] == nil and is_a(key, 'stream') then
    opened[key] = redis.call('ZSCORE', listed, lane_name(base, key)) and true
  end
  return opened[key]
end

local function lanes()
  if made.lanes then return made.lanes end
  -- Returns the facts of a stream by name; none when there is no stream.
  local function facts(key)
    local facts, reply = {}, redis.pcall('XINFO', 'STREAM', key)
    for at = 1, #reply, 2 do facts[reply[at]] = reply[at + 1] end
    return facts
  end

  -- Whether a stream has used up its ids, as one foreign entry can do, or is about to. Looked
  -- at once a script: the facts bring the stream's first and last entry along, payloads and all.
  local looked_at = {}
  local function exhausted(key)
    if looked_at[key] == nil then
      local last = facts(key)['last-generated-id'] or ''
      looked_at[key] = string.find(last, '^18446744073709551615%-') ~= nil
    end
    return looked_at[key]
  end

  -- What keeps a stream from taking an entry, nil when nothing does.
  local function stream_refusal(key)
    if not is_a(key, 'stream') or exhausted(key) then return 'T' .. key end
  end

  -- Whether a lane (by its name) is that of a single event.
  local function is_of_event(name) return string.sub(name, 1, 6) == 'event.' end

  -- The route of a lane, "<type>+<digest>", whose jobs require something of a worker; nil for none.
  -- In the name of a single event's lane it stands behind "~".
  local function route_of(name)
    local who = string.match(name, '^[^:]+')
    return string.match(string.match(who, '~(.+)$') or who, '^[^+]+%+.+$')
  end

  -- The sorts of lanes, each with a limit of its own: those of single events, of routes, and of types.
  local function sort_of(name)
    if is_of_event(name) then return 'event' end
    return route_of(name) and 'route' or 'type'
  end

  -- A route has a lane for each partition and priority of its jobs, so that its lanes count too.
  local MOST_ROUTES, MOST_ROUTE_LANES = 512, 1024

  -- The group through which a lane's jobs leave it: its type. Behind "~" stands that of an event's
  -- own lane, without one it is the default type; and behind "+" the route.
  local function group_of(name)
    local who = string.match(name, '^[^:]+')
    local group = string.match(who, '~(.+)$') or (is_of_event(who) and 'workers') or who
    return string.match(group, '^[^+]*')
  end

  -- Returns name and group of a lane; each is cut out once a script.
  local named = {}
  local function of(base, key)
    if not named[key] then
      local name = lane_name(base, key)
      named[key] = { name, group_of(name) }
    end
    return named[key][1], named[key][2]
  end

  -- Returns how many lanes of a sort there are, and of routes how many of these there are, and which.
  -- Lanes that are to be opened count with those that are listed.
  local function count_of(listed, sort, opening)
    local lanes, routes, known = 0, 0, {}
    local function count(name)
      if sort_of(name) ~= sort then return end
      local route = sort == 'route' and route_of(name)
      if route and not known[route] then routes, known[route] = routes + 1, true end
      lanes = lanes + 1
    end
    for _, name in ipairs(redis.call('ZRANGE', listed, 0, -1)) do count(name) end
    for _, name in ipairs(opening) do count(name) end
    return lanes, routes, known
  end

  -- Whether there may not be another lane of this name, beside those that are to be opened.
  local function is_one_too_many(listed, name, most, opening)
    local sort = sort_of(name)
    local limit = ({ event = most.event_lanes, route = MOST_ROUTES })[sort] or most.lanes
    if redis.call('ZCARD', listed) + #opening < limit then return false end
    local lanes, routes, known = count_of(listed, sort, opening)
    if sort ~= 'route' then return lanes >= limit end
    return lanes >= MOST_ROUTE_LANES or not known[route_of(name)] and routes >= MOST_ROUTES
  end

  -- Returns nil when jobs may enter the lane, else why not: L (too many lanes)
  -- or T<key> (a foreign value is in the way). most is the limit of each sort;
  -- opening, where given, collects the new lanes of a batch that is looked at whole.
  local function refusal(base, listed, key, most, opening)
    if is_open(base, listed, key) then return nil end
    if opened[key] == nil then return 'T' .. key end
    if not is_a(key .. ':front', 'stream') then return 'T' .. key .. ':front' end
    if opening and opening[key] then return nil end
    local name = lane_name(base, key)
    if is_one_too_many(listed, name, most, opening or {}) then return 'L' end
    if opening then opening[key], opening[#opening + 1] = true, name end
    return nil
  end

  -- Lanes are listed by priority; those of single events above all others, so that these can be
  -- asked for without a thousand of them.
  local HIGHEST_PRIORITY, ABOVE_TYPES = 100, 1000

  local function rank_of(name)
    local priority = tonumber(string.match(name, '(-?%d+)$'))
    return is_of_event(name) and ABOVE_TYPES + priority or priority
  end

  -- The names of the lanes of types. What somebody listed by hand may lie among them.
  local function of_types(listed)
    local names = {}
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', listed, '-inf', HIGHEST_PRIORITY)) do
      if not is_of_event(name) then names[#names + 1] = name end
    end
    return names
  end

  -- Keeps what a route requires. It is the first of the options of each of its jobs (JSON), an
  -- object of texts and lists without braces, so that it is cut out and never parsed. A foreign
  -- value in the way is no error: workers find it in the jobs as well.
  local function define(base, route, options)
    local definition = string.match(options or '', '^{"route":(%b{})')
    if definition then redis.pcall('HSET', base .. 'routes', route, definition) end
  end

  -- Creates a lane that is not listed yet, for a job with these options. The group starts at 0,
  -- never at $: what lies in the stream already was emitted by somebody and is still owed a run.
  local function open(base, listed, key, group, options)
    local name, is_known = lane_name(base, key), opened[key]
    if is_known == nil then is_known = redis.call('ZSCORE', listed, name) end
    opened[key] = true
    if is_known then return end
    for _, stream in ipairs({ key, key .. ':front' }) do
      local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
      if made.err and not string.find(made.err, 'BUSYGROUP') then error(made.err) end
    end
    redis.call('ZADD', listed, rank_of(name), name)
    local route = route_of(name)
    if route then define(base, route, options) end
    tell().hint(base, 'lane', name)
  end

  made.lanes = {
    facts = facts, exhausted = exhausted, stream_refusal = stream_refusal, of = of, route_of = route_of,
    is_of_event = is_of_event, refusal = refusal, of_types = of_types, open = open,
  }
  return made.lanes
end
