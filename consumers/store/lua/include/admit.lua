-- Admit new jobs into lanes, for emit and for children that are settled with
-- their parent. Needs enter, clauses, live, lane, delayed and guard.

local JOB_FIELDS = 8

local function admission()
  if made.admission then return made.admission end
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

  -- Most jobs have no guard, and need none of its functions.
  local function guard_of(base, job)
    if job.guard ~= '' then return guards().of(base, job) end
  end

  -- Returns the job that stands for this one: that of its guard, or the living one with its
  -- id; nil when there is none, and as a second value the reason when that cannot be told.
  local function look(base, job)
    local bucket, guard, unknown = base .. 'live:' .. job.bucket, guard_of(base, job)
    if unknown then return nil, 'U' .. string.match(unknown, '^[^ ]*') end
    if guard then
      if not is_a(guard.key, 'string') then return nil, 'T' .. guard.key end
      local found = guards().standing_for(base, guard)
      if found then return found end
    end
    local pointer = redis.pcall('HGET', bucket, job.id)
    if type(pointer) == 'table' then return nil, 'T' .. bucket end
    local lives = pointer and live().living(base, job.id, pointer)
    return lives and { generation = lives, id = job.id } or nil
  end

  -- Whether a job that was found is changed by the emit that met it: then what keeps an
  -- emit out keeps this out.
  local function is_changed(found) return found.guard ~= nil and found.guard.kind == 't' end

  -- Whether an emit that met a job is dropped: nothing but the storm's end changes then.
  local function is_dropped(found) return found.guard ~= nil and found.guard.kind == 'l' end

  -- Returns why a job may not enter its lane or be put off, nil when it may.
  local function refusal(base, listed, job, most, opening)
    local guard = guard_of(base, job)
    local waits = job.due ~= '' or guard and guard.kind == 't'
    local refusal = waits and delayed().refusal(base)
    return refusal or lanes().refusal(base, listed, job.stream, most, opening)
  end

  local texts = {}
  local function text_of(ms)
    if not texts[ms] then texts[ms] = string.format('%.0f', ms) end
    return texts[ms]
  end

  -- Adds a job whose lane refused nothing. Returns its generation as text; false when the
  -- lane's stream has used up its ids; full memory is an error, before anything was written.
  local function admit(base, listed, job, number, now)
    local due, guard, bucket = due_of(job, now), guard_of(base, job), base .. 'live:' .. job.bucket
    local name, group = lanes().of(base, job.stream)
    local generation = string.format('%.0f', number)
    local fields = { 'head', clauses().new_head(generation, text_of(now), guard), 'id', job.id,
      'event', job.event, 'data', job.data, 'options', job.options }
    lanes().open(base, listed, job.stream, group, job.options)
    if guard and guard.kind == 't' then
      delayed().put_off(base, bucket, job.id, generation, name, group, fields,
        guards().storm_due(guard, now, now), 'debounced')
    elseif due then
      delayed().put_off(base, bucket, job.id, generation, name, group, fields, due, 'delayed')
    else
      local pointer = live().pointer(generation, 0, name, '')
      local entry, why_not = enter(job.stream, bucket, job.id, pointer, unpack(fields))
      if not entry and string.find(why_not, 'exhausted') then return false end
      if not entry then error(why_not) end
    end
    if guard then guards().point_new(guard, job, generation, now) end
    return generation
  end

  -- A job with an idempotency key of its own met one that lives under its id: the key stands
  -- for that one, for a day, because nothing in that one's entry knows of the key.
  local function bind(base, job, found, now)
    local guard = guard_of(base, job)
    if guard and guard.kind == 'i' and not found.guard then
      guards().point(guard, job, found.generation, now, guards().KEPT_AFTER_END)
    end
  end

  -- What an emit that met a job changes, and counts.
  local function absorb(base, listed, stats, job, found, now)
    bind(base, job, found, now)
    if found.guard then guards().meet(base, listed, stats, job, found, now) end
  end

  made.admission = {
    job_at = job_at, look = look, is_changed = is_changed, is_dropped = is_dropped,
    refusal = refusal, admit = admit, absorb = absorb,
  }
  return made.admission
end
