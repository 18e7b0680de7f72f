-- Dead letters: a stream bounded by number, bytes and age, and an index id -> its
-- latest letter. A letter starts with job, size, lane, group and, where the id had one already,
-- before: the entry of that one, which is its latest again when this one goes. What is trimmed
-- is counted. A counter that is no number must not make a written batch an error. The queue's
-- properties may name another stream than the usual one. Needs lane.

local function letters()
  if made.letters then return made.letters end
  local streams = {}

  -- Returns the stream of a queue's letters; looked up once a script.
  local function stream(base)
    if not streams[base] then
      local name = redis.call('HGET', base .. 'meta', 'dead')
      streams[base] = name and base .. 'dead:' .. name or base .. 'dead'
    end
    return streams[base]
  end

  local function refusal(base)
    if not is_a(stream(base), 'stream') then return 'T' .. stream(base) end
    if not is_a(base .. 'dead_index', 'hash') then return 'T' .. base .. 'dead_index' end
  end

  -- Returns the key in the way of one more letter, nil when there is none.
  local function burial_refusal(base)
    local dead = stream(base)
    return refusal(base) or (lanes().exhausted(dead) and 'T' .. dead) or nil
  end

  -- Returns the entry of the letter that an id had before this one, nil when it has gone.
  local function letter_before(base, id, fields)
    if fields[9] ~= 'before' then return nil end
    local found = redis.pcall('XRANGE', stream(base), fields[10], fields[10])[1]
    return found and found[2][2] == id and found[1] or nil
  end

  -- Removes a letter; returns the bytes it counts for. XDEL is first: full memory allows it.
  local function drop(base, entry, fields)
    local index, id, size = base .. 'dead_index', fields[2], tonumber(fields[4]) or 0
    redis.call('XDEL', stream(base), entry)
    if redis.call('HGET', index, id) == entry then
      local before = letter_before(base, id, fields)
      if before then redis.call('HSET', index, id, before) else redis.call('HDEL', index, id) end
    end
    redis.pcall('HINCRBY', base .. 'stats', 'dead_bytes', -size)
    return size
  end

  -- Drops letters, the oldest first, while is_over(time in ms, how many there are, their
  -- bytes); at most so many and, all but the last, so many bytes. Returns how many, and
  -- whether there may be more.
  local function drop_while(base, is_over, most, most_bytes)
    local dead, dropped = stream(base), 0
    local length = redis.call('XLEN', dead)
    local bytes = tonumber(redis.call('HGET', base .. 'stats', 'dead_bytes')) or 0
    while dropped < most and most_bytes > 0 do
      local letter = redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1]
      if not letter or not is_over(tonumber(string.match(letter[1], '^%d+')), length, bytes) then
        return dropped, false
      end
      local size = drop(base, letter[1], letter[2])
      dropped, length, bytes, most_bytes = dropped + 1, length - 1, bytes - size, most_bytes - size
    end
    return dropped, true
  end

  -- Adds a letter; facts are field-value pairs. Returns its entry.
  local function add(base, id, lane, group, facts)
    local size = 0
    for _, fact in ipairs(facts) do size = size + #tostring(fact) end
    local before = redis.call('HGET', base .. 'dead_index', id)
    if before then
      table.insert(facts, 1, 'before')
      table.insert(facts, 2, before)
    end
    local dead = stream(base)
    local entry = redis.call('XADD', dead, '*',
      'job', id, 'size', size, 'lane', lane, 'group', group, unpack(facts))
    redis.call('HSET', base .. 'dead_index', id, entry)
    redis.pcall('HINCRBY', base .. 'stats', 'dead_bytes', size)
    return entry
  end

  -- Drops the oldest letters over the bounds and counts them. A batch adds at most 500,
  -- so this keeps up; after a bound was lowered it takes some batches.
  local function trim(base, most, most_bytes, oldest)
    local function is_over(at, length, bytes)
      return length > most or bytes > most_bytes or at < oldest
    end
    local dropped = drop_while(base, is_over, 600, 4 * 1024 * 1024)
    if dropped > 0 then redis.pcall('HINCRBY', base .. 'stats', 'dead_trimmed', dropped) end
  end

  made.letters = {
    stream = stream, refusal = refusal, burial_refusal = burial_refusal, drop = drop, drop_while = drop_while,
    add = add, trim = trim,
  }
  return made.letters
end
