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
-- ARGV[6…] the jobs, those that follow each other and are alike in a group, each group packed:
--            index of their stream in KEYS, event, options, when they are due: empty for now, a
--            time in ms, or "+<ms>" from now; their guard, see include/clauses.lua, or empty;
--            then three a job: live bucket, id, data
--
-- Returns one word a job, separated by spaces, but one for several that were added in a row:
--   +<generation>  added          =<generation>  its id is live already
--   +<first generation>*<jobs>
--   ~<generation>:<id>  this job stands for it, by its guard
--   F              queue full     L              too many lanes
--   T<key>         a foreign value is in the way, or the last id an entry can have
--   U<letter>      only a newer version knows this clause of its guard
-- Errors: WRITERREFUSED, LAYOUT, WRONGTYPE, OOM, a broken generation; nothing is
-- written then.
-- include clock
-- include meta
local door, meta, listed, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, number, digest = ARGV[1], ARGV[2], ARGV[3]

-- include door
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'emitted')
local room, now, words, added = tonumber(ARGV[4]), now_ms(), {}, 0
if room == 0 then room = math.huge end

-- What the other jobs need, made when there is one: Lua makes each function anew at every call.
local function others()
  if made.others then return made.others end
-- include enter
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include guard
-- include admit
  redis.call('ZCARD', listed)
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

-- Most jobs are plain: nothing puts them off or stands for them, and their lane is listed. Those
-- are added right here, as enter would do it, and in fewer steps than the others take.
if room < math.huge then room = room - others().depth() end
local live_buckets, rest_of_head = base .. 'live:', ':' .. string.format('%d', now) .. ':0:0:0'
-- How many jobs, added in a row, a word stands for, by its place; and that of the row that may go on.
local rows, row = {}, nil
for at = 6, #ARGV do
  local group = cmsgpack.unpack(ARGV[at])
  local stream, event, options, due, guard = KEYS[tonumber(group[1])], group[2], group[3], group[4], group[5]
  local may_be_plain, place = due == '' and guard == '', nil
  for job = 6, #group, 3 do
    if may_be_plain and not place then
      local lane = string.sub(stream, #base + 6)
      place = redis.call('ZSCORE', listed, lane) and ' 0 ' .. lane .. ' '
    end
    local bucket, id, data, run, entry = live_buckets .. group[job], group[job + 1], group[job + 2], nil, nil
    if place and added < room and not redis.pcall('HGET', bucket, id) then
      run = string.format('%d', generation + 1)
      entry = redis.pcall('XADD', stream, '*', 'head', '1:' .. run .. rest_of_head,
        'id', id, 'event', event, 'data', data, 'options', options)
    end
    if type(entry) == 'string' then
      redis.call('HSET', bucket, id, run .. place .. entry)
      generation, added = generation + 1, added + 1
      if row then
        rows[row] = rows[row] + 1
      else
        row = #words + 1
        words[row], rows[row] = '+' .. run, 1
      end
    else
      row = nil
      words[#words + 1] = others().add({ stream = stream, bucket = group[job], id = id, event = event,
        data = data, options = options, due = due, guard = guard })
    end
  end
end
for place, length in pairs(rows) do
  if length > 1 then words[place] = words[place] .. '*' .. length end
end
if made.others then others().absorb_dropped() end
local given, counted = added > 0 and generation, { emitted = added > 0 and added or nil }
local answer = table.concat(words, ' ')
-- include tail
-- include answer
