-- Admit new jobs into lanes, for emit and for children that are settled with
-- their parent. Needs live, lane, delayed and guard.

local JOB_FIELDS = 8

-- Reads one job from the arguments; at is the index of its first field.
local function job_at(at)
  return {
    stream = KEYS[tonumber(ARGV[at])], bucket = ARGV[at + 1], id = ARGV[at + 2],
    event = ARGV[at + 3], data = ARGV[at + 4], options = ARGV[at + 5], due = ARGV[at + 6],
    guard = ARGV[at + 7],
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

-- Returns the job that stands for this one: that of its guard, or the living one with its
-- id; nil when there is none, and as a second value the reason when that cannot be told.
local function look(base, job)
  local bucket, guard = base .. 'live:' .. job.bucket, guard_of(base, job)
  if guard then
    if not is_a(guard.key, 'string') then return nil, 'T' .. guard.key end
    local held = held_by(base, guard)
    if held then return held end
  end
  local pointer = redis.pcall('HGET', bucket, job.id)
  if type(pointer) == 'table' then return nil, 'T' .. bucket end
  local lives = pointer and living(base, job.id, pointer)
  return lives and { generation = lives, id = job.id } or nil
end

-- Whether a job that was found is changed by the emit that met it: then what keeps an
-- emit out keeps this out.
local function is_changed(found) return found.guard ~= nil and found.guard.kind == 't' end

-- Whether an emit that met a job is dropped: nothing but the storm's end changes then.
local function is_dropped(found) return found.guard ~= nil and found.guard.kind == 'l' end

-- Returns why a job may not enter its lane or be put off, nil when it may.
local function entry_refusal(base, lanes, job, most, opening)
  local waits = job.due ~= '' or string.sub(job.guard, 1, 1) == 't'
  local refusal = waits and delayed_refusal(base)
  return refusal or lane_refusal(base, lanes, job.stream, most, opening)
end

-- The time as text: Lua takes longer for that than Redis for a field.
local texts = {}
local function text_of(ms)
  if not texts[ms] then texts[ms] = string.format('%.0f', ms) end
  return texts[ms]
end

-- Adds a job whose lane refused nothing. Returns its generation as text; false when the
-- lane's stream has used up its ids; full memory is an error, before anything was written.
local function admit(base, lanes, job, number, now)
  local due, guard, bucket = due_of(job, now), guard_of(base, job), base .. 'live:' .. job.bucket
  local name, group = lane_of(base, job.stream)
  local generation = string.format('%.0f', number)
  local key = guard and guard.kind == 'i' and ':i=' .. guard.hash or ''
  local fields = { 'head', '1:' .. generation .. ':' .. text_of(now) .. ':0:0:0' .. key,
    'id', job.id, 'event', job.event, 'data', job.data, 'options', job.options }
  open_lane(base, lanes, job.stream, group)
  if guard and guard.kind == 't' then
    put_off(base, bucket, job.id, generation, name, group, fields, storm_due(guard, now, now),
      'debounced')
  elseif due then
    put_off(base, bucket, job.id, generation, name, group, fields, due, 'delayed')
  else
    local entry = redis.pcall('XADD', job.stream, '*', unpack(fields))
    if type(entry) == 'table' then
      if string.find(entry.err, 'exhausted') then return false end
      error(entry.err)
    end
    redis.call('HSET', bucket, job.id, pointer_to(generation, 0, name, entry))
  end
  if guard then hold_new(guard, job, generation, now) end
  return generation
end

-- A job with an idempotency key of its own met one that lives under its id: the key stands
-- for that one, for a day, because nothing in that one's entry knows of the key.
local function bind(base, job, found, now)
  local guard = guard_of(base, job)
  if guard and guard.kind == 'i' and not found.guard then
    hold(guard, job, found.generation, now, KEPT_AFTER_END)
  end
end

-- What an emit that met a job changes, and counts.
local function absorb(base, lanes, stats, job, found, now)
  bind(base, job, found, now)
  meet(base, lanes, stats, job, found, now)
end
