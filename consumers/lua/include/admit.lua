-- Admit new jobs into lanes, for emit and for children that are settled with
-- their parent. Needs live and lane.

local JOB_FIELDS = 6

-- Reads one job from the arguments; at is the index of its first field.
local function job_at(at)
  return {
    stream = KEYS[tonumber(ARGV[at])], bucket = ARGV[at + 1], id = ARGV[at + 2],
    event = ARGV[at + 3], data = ARGV[at + 4], options = ARGV[at + 5],
  }
end

-- Returns the pointer of the job's id, false when there is none, and as a second
-- value the reason when the job cannot be admitted.
local function look(base, lanes, job, most)
  local bucket = base .. 'live:' .. job.bucket
  local pointer = redis.pcall('HGET', bucket, job.id)
  if type(pointer) == 'table' then return false, 'T' .. bucket end
  return pointer, lane_refusal(base, lanes, job.stream, most)
end

-- Adds a job that look found nothing against.
local function admit(base, lanes, job, generation, now)
  local name = lane_name(base, job.stream)
  open_lane(base, lanes, job.stream, string.match(name, '^[^:]+'))
  local entry = redis.call('XADD', job.stream, '*',
    'head', '1:' .. generation .. ':' .. now .. ':0:0:0',
    'id', job.id, 'event', job.event, 'data', job.data, 'options', job.options)
  redis.call('HSET', base .. 'live:' .. job.bucket, job.id, pointer_to(generation, 0, name, entry))
end
