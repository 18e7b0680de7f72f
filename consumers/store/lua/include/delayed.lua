-- The delayed set: job ids by due time (ms), their envelopes beside it, and how many
-- of them each lane is reserved for. Needs live, lane and clauses.

local function delayed()
  if made.delayed then return made.delayed end
  -- An envelope (live bucket, lane, group, fields of the entry) is kept as
  -- "<length>:<bytes>" of each part, exact for whatever bytes.
  local function pack_parts(parts)
    local packed = {}
    for _, part in ipairs(parts) do packed[#packed + 1] = #part .. ':' .. part end
    return table.concat(packed)
  end

  -- Returns nil when somebody else wrote it.
  local function unpack_parts(packed)
    local parts, at = {}, 1
    while at <= #packed do
      local length, colon = string.match(packed, '^(%d+)():', at)
      if not length or colon + length > #packed then return nil end
      parts[#parts + 1] = string.sub(packed, colon + 1, colon + length)
      at = colon + length + 1
    end
    return parts
  end

  -- Ours have a dozen; what has thousands cannot be handed to a command.
  local MOST_PARTS = 64

  -- Returns the job that is put off: its live bucket, lane, group, fields and
  -- generation; nil when there is none or its envelope cannot be read.
  local function envelope_of(base, packed)
    local parts = packed and unpack_parts(packed)
    if not parts or parts[4] ~= 'head' or #parts % 2 == 0 or #parts > MOST_PARTS then return nil end
    local said = clauses().read(parts[5])
    if not (said and string.find(parts[2], '^[^:]+:[^:]+:%-?%d%d?%d?$')) then return nil end
    if string.find(parts[1], base .. 'live:', 1, true) ~= 1 then return nil end
    local job = { bucket = parts[1], lane = parts[2], group = parts[3], generation = said.generation,
      fields = {} }
    for at = 4, #parts do job.fields[at - 3] = parts[at] end
    return job
  end

  -- Returns the key in the way of putting a job off, nil when there is none.
  local function refusal(base)
    if not is_a(base .. 'delayed', 'zset') then return 'T' .. base .. 'delayed' end
    if not is_a(base .. 'delayed:envelopes', 'hash') then return 'T' .. base .. 'delayed:envelopes' end
    if not is_a(base .. 'delayed:lanes', 'hash') then return 'T' .. base .. 'delayed:lanes' end
  end

  -- Puts a job off until due. fields are those of its entry; lane (a name) is
  -- reserved for it; state is the word its pointer gets: delayed, debounced or retrying.
  local function put_off(base, bucket, id, generation, lane, group, fields, due, state)
    local parts = { bucket, lane, group, unpack(fields) }
    local delayed = base .. 'delayed'
    local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
    local is_new = redis.call('ZADD', delayed, due, id) == 1
    redis.call('HSET', delayed .. ':envelopes', id, pack_parts(parts))
    if is_new then redis.pcall('HINCRBY', delayed .. ':lanes', lane, 1) end
    redis.call('HSET', bucket, id, live().pointer(generation, 0, state, due))
    -- A sleeping promoter knows of the nearest one so far.
    if not first or due < tonumber(first) then tell().hint(base, 'due', due) end
  end

  -- A lane is reserved for so many jobs less.
  local function give_back(base, lane, number)
    local left = redis.pcall('HINCRBY', base .. 'delayed:lanes', lane, -number)
    if type(left) == 'number' and left <= 0 then redis.call('HDEL', base .. 'delayed:lanes', lane) end
  end

  -- Takes a job out of the delayed set. ZREM is first: full memory allows it.
  local function take_up(base, id, lane)
    local delayed = base .. 'delayed'
    redis.call('ZREM', delayed, id)
    redis.call('HDEL', delayed .. ':envelopes', id)
    if lane then give_back(base, lane, 1) end
  end

  -- Takes jobs (each with its id and lane) out of the delayed set together.
  local function take_up_all(base, jobs)
    if #jobs == 0 then return end
    local delayed, ids, of_lane = base .. 'delayed', {}, {}
    for at, job in ipairs(jobs) do
      ids[at] = job.id
      of_lane[job.lane] = (of_lane[job.lane] or 0) + 1
    end
    redis.call('ZREM', delayed, unpack(ids))
    redis.call('HDEL', delayed .. ':envelopes', unpack(ids))
    for lane, number in pairs(of_lane) do give_back(base, lane, number) end
  end

  -- A job that stays put off has changed its lane.
  local function reserve_other(base, old, new)
    local lanes = base .. 'delayed:lanes'
    redis.pcall('HINCRBY', lanes, new, 1)
    give_back(base, old, 1)
  end

  made.delayed = {
    envelope_of = envelope_of, refusal = refusal, put_off = put_off, take_up = take_up,
    take_up_all = take_up_all, reserve_other = reserve_other,
  }
  return made.delayed
end
