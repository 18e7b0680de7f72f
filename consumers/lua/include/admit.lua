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

-- Returns the generation of the living job with this id, nil when there is none,
-- and as a second value the reason when that cannot be told.
local function look(base, job)
  local bucket = base .. 'live:' .. job.bucket
  local pointer = redis.pcall('HGET', bucket, job.id)
  if type(pointer) == 'table' then return nil, 'T' .. bucket end
  return pointer and living(base, pointer) or nil
end

-- Adds a job whose lane refused nothing. Returns false when the lane's stream has
-- used up its ids; full memory is an error, before anything was written.
local function admit(base, lanes, job, generation, now)
  local name = lane_name(base, job.stream)
  open_lane(base, lanes, job.stream, string.match(name, '^[^:]+'))
  local entry = redis.pcall('XADD', job.stream, '*',
    'head', '1:' .. generation .. ':' .. now .. ':0:0:0',
    'id', job.id, 'event', job.event, 'data', job.data, 'options', job.options)
  if type(entry) == 'table' then
    if string.find(entry.err, 'exhausted') then return false end
    error(entry.err)
  end
  redis.call('HSET', base .. 'live:' .. job.bucket, job.id, pointer_to(generation, 0, name, entry))
  return true
end
