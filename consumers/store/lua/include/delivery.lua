-- A delivery that is settled: what it is, whose it is, and how it leaves its lane. Needs leave,
-- shares, lane, cancelled and clauses, and base and consumer of the script.

-- asked is its generation and behind it the clauses of its head that an end must know; told is
-- what is kept of its run.
local function delivery_of(kind, share, entry, count, bucket, id, asked, told)
  local tail = string.find(asked, ':', 1, true)
  share.entries[#share.entries + 1] = entry
  return {
    kind = kind, share = share, stream = share.stream, group = share.group, entry = entry, count = count,
    bucket = base .. 'live:' .. bucket, id = id, told = told,
    generation = tail and string.sub(asked, 1, tail - 1) or asked,
    idempotency = tail and clauses().value(string.sub(asked, tail), 'i'),
  }
end

local function is_ours(delivery)
  return holds(delivery.share, delivery.entry, consumer, delivery.count)
end

-- Whether whoever ends this delivery can only record that it was cancelled.
local function must_be_cancelled(delivery)
  return marked and cancelled().has(base, lane_name(base, delivery.stream), delivery.entry)
end

-- Reads where the index says that the job is; false when a foreign value is in the way.
local function find(delivery)
  local pointer = redis.pcall('HGET', delivery.bucket, delivery.id)
  if type(pointer) == 'table' then return false end
  delivery.pointer = pointer
  return true
end

local function take(delivery)
  delivery.share.taken[#delivery.share.taken + 1] = delivery.entry
  delivery.share.is_taken[delivery.entry] = true
  leave(delivery.stream, delivery.group, { delivery.entry })
end

local function fields_of(delivery)
  local found = redis.call('XRANGE', delivery.stream, delivery.entry, delivery.entry)[1]
  return found and found[2] or {}
end

-- Reads the entry of a delivery that is to be added again; nil when it is missing or no job.
local function read_entry(delivery)
  delivery.fields = fields_of(delivery)
  delivery.said = clauses().read(delivery.fields[2])
  return delivery.said
end
