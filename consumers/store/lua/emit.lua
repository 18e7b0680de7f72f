-- Add a batch of new jobs to their lanes.
--
-- KEYS[1]  the writer's door
-- KEYS[2]  the queue's meta
-- KEYS[3]  the queue's lanes
-- KEYS[4]  the queue's counters
-- KEYS[5…] the streams of the lanes named by the jobs
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  number of the batch
-- ARGV[3]  digest of the batch
-- ARGV[4]  most jobs the queue may hold, 0 for no limit
-- ARGV[5]  most lanes the queue may have
-- ARGV[6…] eight a job: index of its stream in KEYS, live bucket, id, event, data, options,
--          when it is due: empty for now, a time in ms, or "+<ms>" from now; its guard, see
--          include/clauses.lua, or empty
--
-- Returns one word a job, separated by spaces:
--   +<generation>  added          =<generation>  its id is live already
--   ~<generation>:<id>  this job stands for it, by its guard
--   F              queue full     L              too many lanes
--   T<key>         a foreign value is in the way, or the last id an entry can have
--   U<letter>      only a newer version knows this clause of its guard
-- Errors: WRITERREFUSED, LAYOUT, WRONGTYPE, OOM, a broken generation; nothing is
-- written then.
-- include door
-- include clock
-- include meta
-- include tail
-- include enter
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include guard
-- include admit
local door, meta, listed, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, number, digest = ARGV[1], ARGV[2], ARGV[3]
local room, most = tonumber(ARGV[4]), { lanes = tonumber(ARGV[5]) }

local answered = remembered(door, number, digest)
if answered then return answered end
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'emitted')
redis.call('ZCARD', listed)

-- What was cancelled while it waited lies in its lane until it is delivered, but runs no more.
-- The lanes of single events are left out: there may be a thousand, and what lies there waits
-- for a worker that is deployed, not for the producers to slow down.
local function depth()
  -- A foreign value in one place must not stop emits to the others.
  local function number_in(found)
    return type(found) == 'number' and found or 0
  end
  local waiting = number_in(redis.pcall('ZCARD', base .. 'delayed'))
  for _, name in ipairs(lanes().of_types(listed)) do
    local lane = base .. 'lane:' .. name
    waiting = waiting + number_in(redis.pcall('XLEN', lane)) + number_in(redis.pcall('XLEN', lane .. ':front'))
  end
  return math.max(0, waiting - number_in(redis.pcall('SCARD', base .. 'cancelled')))
end

room = room == 0 and math.huge or room - depth()
local now, words, added, dropped = now_ms(), {}, 0, {}

local function add(job)
  local admission = admission()
  local found, refusal = admission.look(base, job)
  if not refusal and (not found or admission.is_changed(found)) then
    refusal = admission.refusal(base, listed, job, most)
  end
  if refusal then return refusal end
  if found then
    if admission.is_dropped(found) then
      dropped[#dropped + 1] = { job, found }
    else
      admission.absorb(base, listed, stats, job, found, now)
    end
    return found.guard and '~' .. found.generation .. ':' .. found.id or '=' .. found.generation
  end
  if added >= room then return 'F' end
  local added_as = admission.admit(base, listed, job, generation + 1, now)
  if not added_as then return 'T' .. job.stream end
  generation, added = generation + 1, added + 1
  return '+' .. added_as
end

-- Most jobs are plain: nothing puts them off or stands for them, and their lane is open. Adds
-- one like that, in fewer steps than add takes; returns nil for any other.
local live_buckets, rest_of_head = base .. 'live:', ':' .. string.format('%.0f', now) .. ':0:0:0'
local ways = {}

-- What an entry of a lane and a pointer to it have in common, by the lane's index in KEYS.
local function way_to(index)
  local stream = KEYS[tonumber(index)]
  if not is_open(base, listed, stream) then return nil end
  ways[index] = { stream = stream, place = ' 0 ' .. lane_name(base, stream) .. ' ' }
  return ways[index]
end

local function add_plain(at)
  local index, id, bucket = ARGV[at], ARGV[at + 2], live_buckets .. ARGV[at + 1]
  if ARGV[at + 6] ~= '' or ARGV[at + 7] ~= '' or added >= room then return nil end
  local way = ways[index] or way_to(index)
  if not way or redis.pcall('HGET', bucket, id) then return nil end
  local number = string.format('%.0f', generation + 1)
  local entry = enter(way.stream, bucket, id, number .. way.place,
    'head', '1:' .. number .. rest_of_head, 'id', id, 'event', ARGV[at + 3], 'data', ARGV[at + 4],
    'options', ARGV[at + 5])
  if not entry then return nil end
  generation, added = generation + 1, added + 1
  return '+' .. number
end

for at = 6, #ARGV, JOB_FIELDS do
  words[#words + 1] = add_plain(at) or add(admission().job_at(at))
end

-- Last, because full memory allows them: as a first write they would let all others pass it.
for _, met in ipairs(dropped) do admission().absorb(base, listed, stats, met[1], met[2], now) end
return finish({
  meta = meta, generation = added > 0 and generation, began = added > 0 and now,
  stats = stats, counts = { emitted = added > 0 and added or nil },
  door = door, number = number, digest = digest, answer = table.concat(words, ' '),
}, BUDGET)
