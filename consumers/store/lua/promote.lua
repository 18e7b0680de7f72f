-- Move jobs that are due into their lanes.
--
-- KEYS[1]  the delayed set
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the queue's counters
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  most jobs to move
-- ARGV[3]  most bytes to move; the last job may go beyond
--
-- Returns how many were moved, and in how many ms the next one is due (-1 for none,
-- 0 when more are due now).
-- Errors: WRONGTYPE; nothing is written then.
-- include clock
-- include meta
-- include enter
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include dead
local due_set, listed, stats = KEYS[1], KEYS[2], KEYS[3]
local base, limit, room, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms()
local refusal = delayed().refusal(base)
if refusal then return redis.error_reply('WRONGTYPE ' .. string.sub(refusal, 2)) end
redis.call('ZCARD', listed)

-- Whether a lane takes jobs; each is looked at once.
local ready = {}
local function is_ready(stream)
  if ready[stream] == nil then
    ready[stream] = is_a(stream, 'stream') and is_a(stream .. ':front', 'stream')
      and not lanes().exhausted(stream)
  end
  return ready[stream]
end

-- A foreign value is in the way: the job waits until somebody removed it.
local function wait_for_room(id)
  redis.pcall('ZADD', due_set, now + 5000, id)
end

-- What somebody wrote in place of an envelope never vanishes (G13).
local function quarantine(id, packed)
  if packed and letters().burial_refusal(base) then return wait_for_room(id) end
  delayed().take_up(base, id)
  if not packed then
    redis.pcall('HINCRBY', stats, 'missing', 1)
    return
  end
  letters().add(base, id, '', '', { 'reason', 'foreign', 'error', 'the delayed entry is not a job',
    'errors', '', 'delivered', 0, 'raw', string.sub(packed, 1, 65536) })
  redis.pcall('HINCRBY', stats, 'dead', 1)
end

-- Returns the job when it can move now.
local function movable(id)
  -- One by one: the rest of them may be far more bytes than there is room for.
  local packed = redis.call('HGET', due_set .. ':envelopes', id)
  local job = delayed().envelope_of(base, packed)
  if not job then return quarantine(id, packed) end
  local stream = base .. 'lane:' .. job.lane
  if not (is_ready(stream) and is_a(job.bucket, 'hash')) then return wait_for_room(id) end
  room, job.id, job.stream = room - #packed, id, stream
  return job
end

local function move(job)
  lanes().open(base, listed, job.stream, job.group, clauses().options_in(job.fields))
  assert(enter(job.stream, job.bucket, job.id, live().pointer(job.generation, 0, job.lane, ''),
    unpack(job.fields)))
end

local moving = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due_set, '-inf', now, 'LIMIT', 0, limit)) do
  if room > 0 then moving[#moving + 1] = movable(id) end
end
delayed().take_up_all(base, moving)
for _, job in ipairs(moving) do move(job) end
local next_due = redis.call('ZRANGE', due_set, 0, 0, 'WITHSCORES')[2]
local given, counted = false, { promoted = #moving > 0 and #moving or nil }
-- include tail
return { #moving, next_due and math.max(0, tonumber(next_due) - now) or -1 }
