-- A delivery that is settled: what it is, whose it is, and how it leaves its lane. Reads the
-- arguments, and base and consumer of the script. Needs shares, lane, cancelled and clauses.

local function delivery_at(at)
  local stream, group, entry, asked = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3], ARGV[at + 7]
  local share, tail = share_of(stream, group), string.find(asked, ':', 1, true)
  local is_plain = ARGV[at] == 'plain'
  share.entries[#share.entries + 1] = entry
  return {
    kind = is_plain and 'complete' or ARGV[at], stream = stream, group = group, entry = entry, share = share,
    count = ARGV[at + 4], bucket = base .. 'live:' .. ARGV[at + 5], id = ARGV[at + 6],
    generation = tail and string.sub(asked, 1, tail - 1) or asked,
    idempotency = tail and clauses().value(string.sub(asked, tail), 'i'), at = at + 9, plain = is_plain,
  }
end

-- What is told of its run, to be kept with its end.
local function told_of(delivery) return ARGV[delivery.at - 1] end

local marked = any_cancelled(base)

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

-- XACK first: it is allowed under maxmemory, and what follows it then is too.
local function take(delivery)
  delivery.share.taken[delivery.entry] = true
  redis.call('XACK', delivery.stream, delivery.group, delivery.entry)
  redis.call('XDEL', delivery.stream, delivery.entry)
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
