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
-- ARGV[6…] the jobs, those that follow each other and are alike in a group: what they have in
--          common, then three a job
--            how many; index of their stream in KEYS, event, options, when they are due: empty
--              for now, a time in ms, or "+<ms>" from now; their guard, see
--              include/clauses.lua, or empty
--            live bucket, id, data
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
local door, meta, listed, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, number, digest = ARGV[1], ARGV[2], ARGV[3]

local answered = remembered(door, number, digest)
if answered then return answered end
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'emitted')
redis.call('ZCARD', listed)
local room, now, words, added = tonumber(ARGV[4]), now_ms(), {}, 0
if room == 0 then room = math.huge end

-- What the other jobs need, made when there is one: Lua makes each function anew at every call.
local function others()
  if made.others then return made.others end
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include guard
-- include admit
  local most, dropped, admission = { lanes = tonumber(ARGV[5]) }, {}, admission()

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

  local function add(job)
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

  -- Last, because full memory allows them: as a first write they would let all others pass it.
  local function absorb_dropped()
    for _, met in ipairs(dropped) do admission.absorb(base, listed, stats, met[1], met[2], now) end
  end

  made.others = { depth = depth, add = add, absorb_dropped = absorb_dropped }
  return made.others
end

-- Most jobs are plain: nothing puts them off or stands for them, and their lane is listed.
local live_buckets, rest_of_head = base .. 'live:', ':' .. string.format('%d', now) .. ':0:0:0'

-- Returns what the pointers to the jobs of a lane have in common, nil while it is not listed.
local function place_in(stream)
  local lane = string.sub(stream, #base + 6)
  return redis.call('ZSCORE', listed, lane) and ' 0 ' .. lane .. ' '
end

-- Adds a plain job, in fewer steps than the others take; returns nil for one that is none, as
-- where its id is in the index or a foreign value in the way.
local function add_plain(stream, place, bucket, id, event, data, options)
  if added >= room or redis.pcall('HGET', bucket, id) then return nil end
  local number = string.format('%d', generation + 1)
  local entry = enter(stream, bucket, id, number .. place,
    'head', '1:' .. number .. rest_of_head, 'id', id, 'event', event, 'data', data, 'options', options)
  if not entry then return nil end
  generation, added = generation + 1, added + 1
  return '+' .. number
end

-- Adds a group of jobs; at is where it begins. Returns where the next one does.
local function add_group(at)
  local number, stream, event, options = tonumber(ARGV[at]), KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]
  local due, guard, place = ARGV[at + 4], ARGV[at + 5], nil
  local may_be_plain, first = due == '' and guard == '', at + 6
  for job = first, first + 3 * (number - 1), 3 do
    local bucket, id, data = ARGV[job], ARGV[job + 1], ARGV[job + 2]
    place = place or may_be_plain and place_in(stream)
    words[#words + 1] = place and add_plain(stream, place, live_buckets .. bucket, id, event, data, options)
      or others().add({ stream = stream, bucket = bucket, id = id, event = event, data = data,
        options = options, due = due, guard = guard })
  end
  return first + 3 * number
end

if room < math.huge then room = room - others().depth() end
local at = 6
while at <= #ARGV do at = add_group(at) end
if made.others then others().absorb_dropped() end
return finish({
  meta = meta, generation = added > 0 and generation, began = added > 0 and now,
  stats = stats, counts = { emitted = added > 0 and added or nil },
  door = door, number = number, digest = digest, answer = table.concat(words, ' '),
}, BUDGET)
