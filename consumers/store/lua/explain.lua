-- Say what Redis knows of why a job runs or does not, in one step. Writes nothing.
--
-- KEYS[1]  the job's live bucket
-- KEYS[2]  its result
-- KEYS[3]  the index of the dead letters
-- KEYS[4]  the dead letters, where the queue's properties name no other stream
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  job id
-- ARGV[3]  up to how many entries before it are counted, 0 for none
-- ARGV[4]  in how many lanes of higher priority waiting jobs are counted, 0 for none
--
-- Returns names and values by turns:
--   now, pointer, fields, lane, consumer, delivered, since, result, letter, letter_entry  as inspect
--     has them, the fields without the payload
--   paused       what the queue's properties say of pauses: paused, paused_events, pause_state
--   lease        the queue's lease (ms), empty where it has none
--   cancelled    1 if its entry is marked as cancelled
--   definition   what its route requires (JSON), as the queue keeps it
--   listed       1 if its lane is listed
--   kind         the type of what is in place of its stream
--   group        1 if the group is there through which jobs leave the stream
--   passed       1 if that group is past its entry
--   before, more how many waiting entries lie before it in lane and front; 1 if there are more
--   higher       of lanes of higher priority with waiting jobs: name, how many, definition
--   more_higher  1 if there are lanes that were not looked at
-- An empty string or list for what there is not, and 0 for no. What a foreign value hides is not
-- there.
-- Errors: WRONGTYPE, NOPERM with the command that the user may not run.
-- include denied
-- include with_rights
-- include clock
-- include live
-- include tell
-- include older
-- include lane
-- include clauses
-- include delayed
-- include dead
-- include holder
-- include cancelled
local base, id = ARGV[1], ARGV[2]
local most_entries, most_lanes = tonumber(ARGV[3]), tonumber(ARGV[4])
local listed = base .. 'lanes'

local answer = {}
local function say(name, value)
  answer[#answer + 1] = name
  answer[#answer + 1] = value
end

local function flag(is_so) return is_so and 1 or 0 end

-- A payload may be large, and explains nothing.
local function without_data(fields)
  if fields[7] == 'data' then fields[8] = '' end
  return fields
end

-- Returns what Redis says of the group of a stream, by its names; nil where it is lost.
local function group_of(stream)
  local _, group = lanes().of(base, stream)
  for _, row in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
    local found = {}
    for at = 1, #row, 2 do found[row[at]] = row[at + 1] end
    if found.name == group then return found end
  end
end

-- Returns how many jobs wait in a stream; what its group has delivered is deleted as it ends.
local function waiting_in(stream, group)
  local length = redis.pcall('XLEN', stream)
  if type(length) ~= 'number' then return 0 end
  return math.max(0, length - (group and group.pending or 0))
end

-- Entries come with their payloads: a few first, to see how large they are.
local FIRST, AT_ONCE, MOST_BYTES = 2, 32, 1024 * 1024

local function bytes_in(fields)
  local bytes = 0
  for _, field in ipairs(fields) do bytes = bytes + #field end
  return bytes
end

-- Returns how many entries lie behind one, up to a last one; and whether there are more of them.
local function count_behind(stream, first, last)
  local number, bytes, wanted = 0, 0, FIRST
  while number <= most_entries and bytes < MOST_BYTES do
    wanted = math.min(wanted, most_entries + 1 - number)
    local found = redis.pcall('XRANGE', stream, '(' .. first, last, 'COUNT', wanted)
    for _, row in ipairs(found) do
      number, first, bytes = number + 1, row[1], bytes + bytes_in(row[2])
    end
    if #found < wanted then return number, false end
    wanted = math.max(1, math.min(AT_ONCE, math.floor((MOST_BYTES - bytes) / bytes * number)))
  end
  return math.min(number, most_entries), true
end

-- Returns how many entries wait before one, and whether there are more. Near the end of a long
-- stream there are few behind it.
local function count_before(stream, group, entry)
  local number, more = count_behind(stream, group['last-delivered-id'], '(' .. entry)
  if not more then return number, false end
  local behind, are_more = count_behind(stream, entry, '+')
  if are_more then return number, true end
  return math.max(number, waiting_in(stream, group) - 1 - behind), false
end

local function definition_of(lane)
  local route = lanes().route_of(lane)
  local found = route and redis.pcall('HGET', base .. 'routes', route)
  return type(found) == 'string' and found or ''
end

-- Says how the stream of its entry is, and how much is before it there. consumer has it, if any.
local function say_stream(place, entry, consumer)
  local stream, front = base .. 'lane:' .. place, nil
  local group = group_of(stream)
  say('kind', kind_of(stream))
  say('group', flag(group))
  if not group or consumer ~= '' then return end
  local is_past = not is_older(group['last-delivered-id'], entry)
  say('passed', flag(is_past))
  if is_past or most_entries == 0 then return end
  local before, more = count_before(stream, group, entry)
  if not string.find(place, ':front$') then
    front = stream .. ':front'
    before = before + waiting_in(front, group_of(front))
  end
  say('before', before)
  say('more', flag(more))
end

-- Lanes are listed by priority, those of single events behind all others.
local function say_higher(lane)
  local higher, priority = {}, tonumber(string.match(lane, '(-?%d+)$'))
  local names = redis.call('ZRANGEBYSCORE', listed, '(' .. priority, '+inf', 'LIMIT', 0, most_lanes)
  for _, name in ipairs(names) do
    local stream, its = base .. 'lane:' .. name, tonumber(string.match(name, ':(-?%d+)$') or '')
    if its and its > priority then
      local front = stream .. ':front'
      local waiting = waiting_in(stream, group_of(stream)) + waiting_in(front, group_of(front))
      if waiting > 0 then higher[#higher + 1] = { name, waiting, definition_of(name) } end
    end
  end
  say('higher', higher)
  say('more_higher', flag(#names == most_lanes))
end

local pointer = redis.call('HGET', KEYS[1], id) or ''
local generation, _, place, entry = live().parse(pointer)
local is_put_off = generation and live().is_put_off(place)
local is_in_lane = generation and not is_put_off and live().is_known(place)
local lane, fields = '', {}
local consumer, delivered, since = '', 0, 0

if is_put_off then
  local job = delayed().envelope_of(base, redis.call('HGET', base .. 'delayed:envelopes', id))
  if job then fields, lane = job.fields, job.lane end
elseif is_in_lane then
  local stream = base .. 'lane:' .. place
  local found = redis.pcall('XRANGE', stream, entry, entry)
  lane = string.gsub(place, ':front$', '')
  if not found.err and found[1] then
    fields = found[1][2]
    local idle
    consumer, delivered, idle = holder(base, stream, entry)
    if consumer ~= '' then since = server_ms() - idle end
  end
  say_stream(place, entry, consumer)
  say('cancelled', flag(cancelled().has(base, place, entry)))
end

local letter_entry = redis.call('HGET', KEYS[3], id) or ''
local letter = letter_entry ~= '' and redis.call('XRANGE', letters().stream(base), letter_entry, letter_entry)[1]
local meta = redis.call('HMGET', base .. 'meta', 'paused', 'paused_events', 'pause_state', 'lease')
say('now', server_ms())
say('pointer', generation and pointer or '')
say('fields', without_data(fields))
say('lane', lane)
say('consumer', consumer)
say('delivered', delivered)
say('since', since)
say('result', redis.call('GET', KEYS[2]) or '')
say('letter', letter and letter[2] or {})
say('letter_entry', letter and letter_entry or '')
say('paused', { meta[1], meta[2], meta[3] })
say('lease', meta[4] or '')
if lane ~= '' then
  say('definition', definition_of(lane))
  say('listed', flag(redis.call('ZSCORE', listed, lane)))
  if is_in_lane and consumer == '' and most_lanes > 0 then say_higher(lane) end
end
return answer
