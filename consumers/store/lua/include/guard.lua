-- Guards: what is asked before a job is added; their kinds are in clauses. The key of a guard
-- says "<live bucket> <id> <generation> <since (ms)>" of its job. It only points: a job that is
-- gone never keeps another out. Needs clauses, live, lane and delayed.

local function guards()
  if made.guards then return made.guards end
  local KEPT_AFTER_END = 86400000
  local GUARD_KEYS = { i = 'idem:', t = 'debounce:', l = 'debounce:' }

  -- Returns the guard of a job, nil when it has none, and as a second value the clause that
  -- only a newer version knows. It is read once a job.
  local function of(base, job)
    if job.asks == nil then
      local guard, unknown = clauses().guard_in(job.guard)
      if guard then guard.key = base .. GUARD_KEYS[guard.kind] .. guard.hash end
      job.asks, job.unknown = guard or false, unknown
    end
    return job.asks or nil, job.unknown
  end

  -- Returns the job that a guard's key points at.
  local function pointed_at(base, key)
    local bucket, id, generation, since =
      string.match(redis.call('GET', key) or '', '^(%d+) (%S+) (%d+) (%d+)$')
    if not bucket then return nil end
    return { bucket = base .. 'live:' .. bucket, id = id, generation = generation,
      since = tonumber(since) }
  end

  local function pointer_of(found)
    local pointer = redis.pcall('HGET', found.bucket, found.id)
    return type(pointer) == 'string' and pointer or nil
  end

  local standing = {}

  -- The job while it lives, and for a day after its end: only then the key has a time to live.
  function standing.i(base, guard, found)
    local pointer = pointer_of(found)
    -- One that is being cancelled stands too: it does so for a day afterwards.
    local lives = pointer and live().living(base, found.id, pointer, true)
    return lives == found.generation or redis.call('PTTL', guard.key) > 0
  end

  function standing.t(base, _, found)
    local generation, _, place = live().parse(pointer_of(found) or '')
    if generation ~= found.generation or place ~= 'debounced' then return false end
    found.packed = redis.pcall('HGET', base .. 'delayed:envelopes', found.id)
    found.job = type(found.packed) == 'string' and delayed().envelope_of(base, found.packed) or nil
    return found.job ~= nil
  end

  function standing.l() return true end

  -- Returns the job that stands for one with this guard, nil when it is to be added.
  local function standing_for(base, guard)
    local found = pointed_at(base, guard.key)
    if not found or not standing[guard.kind](base, guard, found) then return nil end
    found.guard = guard
    return found
  end

  local function point(guard, job, generation, now, ttl)
    local bucket = string.match(job.bucket, '%d+$')
    local value = bucket .. ' ' .. job.id .. ' ' .. generation .. ' ' .. now
    if ttl then redis.call('SET', guard.key, value, 'PX', ttl) else redis.call('SET', guard.key, value) end
  end

  -- Points a guard's key at the job that was just added.
  local function point_new(guard, job, generation, now)
    if guard.kind == 'i' then return point(guard, job, generation, now) end
    if guard.kind == 'l' then return point(guard, job, generation, now, guard.window) end
    -- Whether the storm's job still waits is looked up each time: this is only a bound.
    point(guard, job, generation, now, guard.longest + guard.window + KEPT_AFTER_END)
  end

  -- When a storm's job is due: a window after its last emit, or the longest wait after its first.
  local function storm_due(guard, since, now)
    return math.min(now + guard.window, since + guard.longest) + 1
  end

  -- Puts the last emit of a storm in the place of the one before. What counts from the emit
  -- of a job (when it expires) counts from this one then.
  local function take_over(base, listed, job, found, now)
    local old, name, group = found.job, lanes().of(base, job.stream)
    local said = clauses().read(old.fields[2])
    said.created = now
    local fields = { 'head', clauses().head_of(said), 'id', found.id, 'event', job.event, 'data', job.data,
      'options', job.options }
    lanes().open(base, listed, job.stream, group, job.options)
    delayed().put_off(base, found.bucket, found.id, found.generation, name, group, fields,
      storm_due(found.guard, found.since, now), 'debounced')
    if old.lane ~= name then delayed().reserve_other(base, old.lane, name) end
  end

  -- An emit met the job that stands for it by its guard: what that changes.
  local function meet(base, listed, stats, job, found, now)
    local guard = found.guard
    if guard.kind == 'i' then return end
    if guard.kind == 't' then take_over(base, listed, job, found, now) end
    if guard.kind == 'l' then
      local left = math.min(guard.window, found.since + guard.longest - now)
      redis.call('PEXPIRE', guard.key, math.max(1, left))
    end
    redis.pcall('HINCRBY', stats, 'debounced', 1)
  end

  -- The idempotency key with this hash when it points at the job of this generation, else nil.
  local function key_of(base, hash, id, generation)
    if not hash then return nil end
    local key = base .. 'idem:' .. hash
    local value = redis.pcall('GET', key)
    local job = string.match(type(value) == 'string' and value or '', '^%d+ (%S+ %d+) ')
    return job == id .. ' ' .. generation and key or nil
  end

  -- An ended job keeps its idempotency key for a day.
  local function expire(base, hash, id, generation)
    local key = key_of(base, hash, id, generation)
    if key then redis.call('PEXPIRE', key, KEPT_AFTER_END) end
  end

  -- A job that came back as another run has its idempotency key as long as it lives, unless
  -- the key stands for another job by now.
  local function keep(base, hash, bucket, id, generation, now)
    if not hash then return end
    local guard = { kind = 'i', key = base .. GUARD_KEYS.i .. hash }
    if not is_a(guard.key, 'string') then return end
    local found = standing_for(base, guard)
    if not found or found.id == id then point(guard, { bucket = bucket, id = id }, generation, now) end
  end

  made.guards = {
    KEPT_AFTER_END = KEPT_AFTER_END, of = of, standing_for = standing_for, point = point, point_new = point_new,
    storm_due = storm_due, meet = meet, expire = expire, keep = keep,
  }
  return made.guards
end
