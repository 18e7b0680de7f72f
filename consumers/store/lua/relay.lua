-- Add jobs that were committed to another queue's outbox, each once.
--
-- KEYS[1]  this queue's meta
-- KEYS[2]  this queue's lanes
-- KEYS[3]  this queue's counters
-- KEYS[4]  the last entry taken from each outbox
-- ARGV[1]  prefix of this queue's keys
-- ARGV[2]  most lanes
-- ARGV[3]  most dead letters, 0 to keep none
-- ARGV[4]  most bytes of dead letters
-- ARGV[5]  how long dead letters are kept (ms)
-- ARGV[6]  the queue whose outbox it is
-- ARGV[7]  the epoch of that outbox: entries of one that was made again may be lower
-- ARGV[8]  1 to bury them: they wait too long for a worker that knows what their guards ask
-- ARGV[9…] nine a job: its entry in the outbox, its lane, live bucket, id, event, data,
--          options, when it is due and its guard as in emit
--
-- Returns how many of the jobs, from the first on, are dealt with (added, live already,
-- taken before, or buried because their lane would be one too many or because they are to
-- be), and how many of them were buried.
-- Errors: LAYOUT, WRONGTYPE, OOM; nothing is written then.
-- include clock
-- include meta
-- include enter
-- include older
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include dead
-- include guard
-- include admit
local meta, listed, stats, relayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, source, epoch = ARGV[1], ARGV[6], ARGV[7]
local most = { lanes = tonumber(ARGV[2]), event_lanes = tonumber(ARGV[2]) }
local most_dead, overdue = tonumber(ARGV[3]), ARGV[8] == '1'

local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'emitted')
redis.call('ZCARD', listed)
local before = redis.call('HGET', relayed, source) or ''
local now, dealt, added, buried = now_ms(), 0, 0, 0

-- What was taken last from another outbox of this queue, and somebody else's value, say
-- nothing of what was taken from this one.
local last_epoch, last = string.match(before, '^(%S*) (%d+%-%d+)$')
if last_epoch ~= epoch then last = '0-0' end
local first = last

local function bury(job, reason, why)
  local lane, group = lanes().of(base, job.stream)
  if most_dead > 0 then
    letters().add(base, job.id, lane, group, {
      'reason', reason, 'error', why, 'errors', '',
      'delivered', 0, 'head', clauses().new_head(0, now), 'id', job.id, 'event', job.event,
      'data', job.data, 'options', job.options })
  end
  buried = buried + 1
  return true
end

-- Returns false when a foreign value is in the way: the outbox waits.
local function take_in(at)
  local job = {
    stream = base .. 'lane:' .. ARGV[at + 1], bucket = ARGV[at + 2], id = ARGV[at + 3],
    event = ARGV[at + 4], data = ARGV[at + 5], options = ARGV[at + 6], due = ARGV[at + 7],
    guard = ARGV[at + 8],
  }
  if overdue then
    if letters().burial_refusal(base) then return false end
    return bury(job, 'newer_version', 'only a newer version knows what it asks before it is added, '
      .. job.guard .. ', and no worker of one took it; a replay adds it without asking')
  end
  local found, refusal = admission().look(base, job)
  if not refusal and (not found or admission().is_changed(found)) then
    refusal = admission().refusal(base, listed, job, most)
  end
  if found and not refusal then
    admission().absorb(base, listed, stats, job, found, now)
    return true
  end
  if refusal == 'L' and not letters().burial_refusal(base) then
    return bury(job, 'too_many_lanes', 'the queue cannot have another lane')
  end
  if refusal or not admission().admit(base, listed, job, generation + 1, now) then return false end
  generation, added = generation + 1, added + 1
  return true
end

for at = 9, #ARGV, 9 do
  if is_older(last, ARGV[at]) then
    if not take_in(at) then break end
    last = ARGV[at]
  end
  dealt = dealt + 1
end
-- What was taken before needs no memory, so that it can leave the outbox.
if last ~= first then redis.call('HSET', relayed, source, epoch .. ' ' .. last) end
if buried > 0 then
  letters().trim(base, most_dead, tonumber(ARGV[4]), server_ms() - tonumber(ARGV[5]))
end
local given = added > 0 and generation
local counted = { emitted = added > 0 and added or nil, dead = buried > 0 and buried or nil }
-- include tail
return { dealt, buried }
