-- Fire a schedule, once for each fire time (G9).
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the queue's counters
-- KEYS[4]  the queue's schedules
-- KEYS[5]  the schedule
-- KEYS[6…] the streams of the lanes named by the jobs
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  most lanes
-- ARGV[3]  the schedule's name
-- ARGV[4]  digest of the definition from which the rest was computed
-- ARGV[5]  the fire time (ms) that must be the next one
-- ARGV[6]  the latest fire time that is dealt with by this
-- ARGV[7]  the next fire time after it, empty when there is none
-- ARGV[8]  allow, skip or queue: what to do while the job of an earlier fire lives
-- ARGV[9]  how many fire times are passed over without a job
-- ARGV[10…] eight a job as in emit
--
-- Returns a word and how many jobs were added:
--   fired    the fire times are dealt with
--   stale    somebody else did, or the schedule was changed or paused: nothing is written
--   early    it is not due by Redis' clock: nothing is written
--   busy     queue, and the job of an earlier fire lives: it is looked at again in a second
--   L, T<key>  the lane takes nothing; it is looked at again in 5 seconds
-- Errors: LAYOUT, WRONGTYPE, OOM, a broken generation; nothing is written then.
-- include clock
-- include meta
-- include enter
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include guard
-- include admit
-- include schedule
local meta, listed, stats, schedules, schedule = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local base, most, name = ARGV[1], { lanes = tonumber(ARGV[2]) }, ARGV[3]
local digest, slot, last_slot, next_slot, overlap = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local FIRST_JOB = 10
local generation, refusal = last_generation(meta)
refusal = refusal or schedules_refusal(schedules, schedule)
if refusal then return refusal end
redis.call('HGET', stats, 'emitted')
redis.call('ZCARD', listed)
local found = redis.call('HMGET', schedule, 'digest', 'slot', 'fired', 'paused', 'last', 'last_bucket')
local now = now_ms()

if found[1] ~= digest or found[2] ~= slot or slot == '' or found[4] then return { 'stale', 0 } end
if is_past(slot, found[3]) then return { 'stale', 0 } end
if tonumber(last_slot) > now then return { 'early', 0 } end

local function runs_still()
  if overlap == 'allow' or not found[5] then return false end
  local pointer = redis.pcall('HGET', base .. 'live:' .. found[6], found[5])
  return type(pointer) == 'string' and live().living(base, found[5], pointer) ~= nil
end

-- Nothing was written: full memory may refuse this, then it is looked at at once.
local function put_off_look(ms, word)
  redis.pcall('ZADD', schedules, now + ms, name)
  return { word, 0 }
end

local busy, jobs, skipped = runs_still(), {}, tonumber(ARGV[9])
if busy and overlap == 'queue' then return put_off_look(1000, 'busy') end
for at = FIRST_JOB, #ARGV, JOB_FIELDS do
  if busy then
    skipped = skipped + 1
  else
    local job = admission().job_at(at)
    local lives, why = admission().look(base, job)
    why = why or admission().refusal(base, listed, job, most) or lanes().stream_refusal(job.stream)
    if why then return put_off_look(5000, why) end
    if not lives then jobs[#jobs + 1] = job end
  end
end

for _, job in ipairs(jobs) do
  generation = generation + 1
  admission().admit(base, listed, job, generation, now)
  redis.call('HSET', schedule, 'last', job.id, 'last_bucket', string.match(job.bucket, '%d+$'))
end
redis.call('HSET', schedule, 'slot', next_slot, 'fired', last_slot)
look_at(schedules, name, next_slot)
if #jobs > 0 then redis.pcall('HINCRBY', schedule, 'fires', #jobs) end
if skipped > 0 then redis.pcall('HINCRBY', schedule, 'skipped', skipped) end
local given, counted = #jobs > 0 and generation, { emitted = #jobs > 0 and #jobs or nil }
-- include tail
return { 'fired', #jobs }
