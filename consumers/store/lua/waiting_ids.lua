-- Name some of the jobs of a queue that wait in its lanes or are put off, in one step. Writes nothing.
--
-- KEYS[1]  the queue's lanes
-- KEYS[2]  the queue's delayed set
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  how many jobs to name at most
-- ARGV[3]  how many lanes to look at: those of the highest priority first, those of single events last
-- ARGV[4]  after how many bytes of entries no more of them are read
--
-- Returns how many jobs there are in what was looked at; the ids of some: as many of each lane, and
-- of what is put off, as far as there are; and how many lanes were not looked at.
-- Errors: WRONGTYPE, NOPERM with the command that the user may not run.
-- include denied
-- include with_rights
-- include tell
-- include lane
local base, most, most_lanes, bytes_left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- Entries come with their payloads.
local AT_ONCE = 8
local ids = {}

-- Returns what of a stream waits: how much, and behind which entry; nil where nothing does.
local function waiting_in(stream)
  local length, _, group = redis.pcall('XLEN', stream), lanes().of(base, stream)
  for _, row in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
    local found = {}
    for at = 1, #row, 2 do found[row[at]] = row[at + 1] end
    if found.name == group and length > found.pending then
      return { stream = stream, number = length - found.pending, behind = found['last-delivered-id'] }
    end
  end
end

-- Adds the ids of the first of what waits in a stream.
local function add_some(source, wanted)
  local last = source.behind
  while wanted > 0 and bytes_left > 0 do
    local found = redis.call('XRANGE', source.stream, '(' .. last, '+', 'COUNT', math.min(wanted, AT_ONCE))
    for _, row in ipairs(found) do
      local fields = row[2]
      last, wanted = row[1], wanted - 1
      if fields[3] == 'id' then ids[#ids + 1] = fields[4] end
      for _, field in ipairs(fields) do bytes_left = bytes_left - #field end
    end
    if #found == 0 then return end
  end
end

-- Returns the names of the lanes to look at, and how many others there are.
local function some_lanes()
  local all, some = redis.call('ZRANGE', KEYS[1], 0, -1), {}
  for _, of_event in ipairs({ false, true }) do
    for at = #all, 1, -1 do
      if #some < most_lanes and lanes().is_of_event(all[at]) == of_event then some[#some + 1] = all[at] end
    end
  end
  return some, #all - #some
end

local sources, all = {}, redis.call('ZCARD', KEYS[2])
local names, more_lanes = some_lanes()
for _, name in ipairs(names) do
  for _, stream in ipairs({ base .. 'lane:' .. name .. ':front', base .. 'lane:' .. name }) do
    local source = waiting_in(stream)
    if source then sources[#sources + 1], all = source, all + source.number end
  end
end
-- Those with the fewest first: what they leave others may have.
table.sort(sources, function(one, other) return one.number < other.number end)
local put_off = redis.call('ZRANGE', KEYS[2], 0, math.ceil(most / (#sources + 1)) - 1)
for at, source in ipairs(sources) do
  local share = math.ceil((most - #put_off - #ids) / (#sources - at + 1))
  add_some(source, math.min(share, source.number))
end
for _, id in ipairs(put_off) do ids[#ids + 1] = id end
return { all, ids, more_lanes }
