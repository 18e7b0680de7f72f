-- Admit new jobs into lanes, for emit and for children that are settled with
-- their parent. Needs live, lane and delayed.

local JOB_FIELDS = 7

-- Reads one job from the arguments; at is the index of its first field.
local function job_at(at)
  return {
    stream = KEYS[tonumber(ARGV[at])], bucket = ARGV[at + 1], id = ARGV[at + 2],
    event = ARGV[at + 3], data = ARGV[at + 4], options = ARGV[at + 5], due = ARGV[at + 6],
  }
end

-- Returns when a job is due (ms); nil when it is at once. "+<ms>" counts from now,
-- which was rounded down: with a millisecond more it is never early.
local function due_of(job, now)
  if job.due == '' then return nil end
  local due = tonumber(job.due)
  if string.sub(job.due, 1, 1) == '+' then due = due + now + 1 end
  return due > now and due or nil
end

-- Returns the generation of the living job with this id, nil when there is none,
-- and as a second value the reason when that cannot be told.
local function look(base, job)
  local bucket = base .. 'live:' .. job.bucket
  local pointer = redis.pcall('HGET', bucket, job.id)
  if type(pointer) == 'table' then return nil, 'T' .. bucket end
  return pointer and living(base, job.id, pointer) or nil
end

-- Returns why a job that is not live may not enter its lane or be put off, nil when it may.
local function entry_refusal(base, lanes, job, most, opening)
  local refusal = job.due ~= '' and delayed_refusal(base)
  return refusal or lane_refusal(base, lanes, job.stream, most, opening)
end

-- Adds a job whose lane refused nothing. Returns false when the lane's stream has
-- used up its ids; full memory is an error, before anything was written.
local function admit(base, lanes, job, generation, now)
  local name, due = lane_name(base, job.stream), due_of(job, now)
  local group, bucket = string.match(name, '^[^:]+'), base .. 'live:' .. job.bucket
  local fields = { 'head', '1:' .. generation .. ':' .. now .. ':0:0:0',
    'id', job.id, 'event', job.event, 'data', job.data, 'options', job.options }
  open_lane(base, lanes, job.stream, group)
  if due then
    put_off(base, bucket, job.id, generation, name, group, fields, due, 'delayed')
    return true
  end
  local entry = redis.pcall('XADD', job.stream, '*', unpack(fields))
  if type(entry) == 'table' then
    if string.find(entry.err, 'exhausted') then return false end
    error(entry.err)
  end
  redis.call('HSET', bucket, job.id, pointer_to(generation, 0, name, entry))
  return true
end
