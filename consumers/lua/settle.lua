-- Record the outcomes of a batch of deliveries, each only if it is still ours.
--
-- KEYS[1]  the writer's door
-- KEYS[2]  the queue's meta
-- KEYS[3]  the queue's lanes
-- KEYS[4]  the queue's counters
-- KEYS[5]  the dead letters
-- KEYS[6]  the index of the dead letters
-- KEYS[7…] the streams of the deliveries, of their children and of where they are released to
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  number of the batch; 0 when it need not be remembered
-- ARGV[3]  digest of the batch
-- ARGV[4]  the consumer
-- ARGV[5]  how long results are kept (ms), 0 for not at all
-- ARGV[6]  most dead letters
-- ARGV[7]  most lanes
-- ARGV[8]  most lanes of single events
-- ARGV[9…] eight a delivery: kind, index of its stream, group, entry, delivery count,
--          live bucket, id, generation; then by kind
--   complete  result, number of children, six a child as in emit
--   bury      reason, error, raw bytes of an entry that is not a job
--   release   index of the stream it goes to, 1 when it was to run solo else 0
--
-- Returns one word a delivery, separated by spaces:
--   1       recorded             0  not ours any more: nothing written
--   L       too many lanes       T<key>  a foreign value is in the way, or the last
--   M       the entry to release         id an entry can have
--           is missing or no job
-- Errors: WRITERREFUSED, LAYOUT, WRONGTYPE, a broken generation; nothing is
-- written then.
-- include door
-- include fence
-- include live
-- include lane
-- include admit
-- include meta
local door, meta, lanes, stats, dead, dead_index = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local base, number, digest, consumer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local result_ttl, most_dead = ARGV[5], tonumber(ARGV[6])
local most = { lanes = tonumber(ARGV[7]), event_lanes = tonumber(ARGV[8]) }

local answered = remembered(door, number, digest)
if answered then return answered end
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'completed')
redis.call('ZCARD', lanes)
-- A time to live that Redis does not take would be an error after the acknowledgement.
if not string.find(result_ttl, '^%d+$') or #result_ttl > 12 then
  return redis.error_reply('ERR ' .. result_ttl .. ' ms is no time to live')
end

local now, counted = now_ms(), {}
local born = 0

local function count(what, by) counted[what] = (counted[what] or 0) + by end

-- XACK first: it is allowed under maxmemory, and what follows it then is too.
local function take(delivery)
  redis.call('XACK', delivery.stream, delivery.group, delivery.entry)
  redis.call('XDEL', delivery.stream, delivery.entry)
end

local function leave_live(delivery)
  local current = delivery.pointer and parse_pointer(delivery.pointer)
  if current == delivery.generation then redis.call('HDEL', delivery.bucket, delivery.id) end
end

local function fields_of(delivery)
  local found = redis.call('XRANGE', delivery.stream, delivery.entry, delivery.entry)[1]
  return found and found[2] or {}
end

-- What keeps a stream from taking an entry, checked before the job leaves its lane.
local function stream_refusal(key)
  if not is_a(key, 'stream') or exhausted(key) then return 'T' .. key end
end

local complete = { step = function(at) return 2 + JOB_FIELDS * tonumber(ARGV[at + 1]) end }

-- A child with its parent's id enters: the parent leaves before it.
local function child_refusal(delivery, child, opening)
  local lives, refusal = look(base, child)
  if refusal or (lives and child.id ~= delivery.id) then return refusal end
  refusal = lane_refusal(base, lanes, child.stream, most, opening)
  if refusal or opening.checked[child.stream] then return refusal end
  opening.checked[child.stream] = true
  return stream_refusal(child.stream)
end

function complete.refusal(delivery, at)
  local opening = { checked = {} }
  for child = at + 2, at + 1 + JOB_FIELDS * tonumber(ARGV[at + 1]), JOB_FIELDS do
    local refusal = child_refusal(delivery, job_at(child), opening)
    if refusal then return refusal end
  end
end

function complete.write(delivery, at)
  take(delivery)
  leave_live(delivery)
  if result_ttl ~= '0' then
    local result = delivery.generation .. ' completed ' .. ARGV[at]
    redis.call('SET', base .. 'result:' .. delivery.id, result, 'PX', result_ttl)
  end
  for child = at + 2, at + 1 + JOB_FIELDS * tonumber(ARGV[at + 1]), JOB_FIELDS do
    local job = job_at(child)
    if not look(base, job) then
      generation, born = generation + 1, born + 1
      admit(base, lanes, job, generation, now)
    end
  end
  count('completed', 1)
end

local bury = { step = function() return 3 end }

function bury.refusal()
  if not is_a(dead_index, 'hash') then return 'T' .. dead_index end
  return stream_refusal(dead)
end

local function trim_dead()
  local over = redis.call('XLEN', dead) - most_dead
  if over <= 0 then return end
  for _, letter in ipairs(redis.call('XRANGE', dead, '-', '+', 'COUNT', over)) do
    local id = letter[2][2]
    if redis.call('HGET', dead_index, id) == letter[1] then redis.call('HDEL', dead_index, id) end
    redis.call('XDEL', dead, letter[1])
  end
  count('dead_trimmed', over)
end

function bury.write(delivery, at)
  local raw = ARGV[at + 2]
  local letter = { 'job', delivery.id, 'reason', ARGV[at], 'error', ARGV[at + 1],
    'lane', lane_name(base, delivery.stream), 'delivered', delivery.count }
  if raw ~= '' then
    letter[#letter + 1], letter[#letter + 2] = 'raw', raw
  else
    for _, field in ipairs(fields_of(delivery)) do letter[#letter + 1] = field end
  end
  take(delivery)
  leave_live(delivery)
  local entry = redis.call('XADD', dead, '*', unpack(letter))
  redis.call('HSET', dead_index, delivery.id, entry)
  trim_dead()
  count('dead', 1)
end

local release = { step = function() return 2 end }

-- A release is no crash: this delivery counts as a delivery only.
local function recounted(head, delivered)
  local start, deliveries, crashes, rest =
    string.match(head or '', '^(%d+:%d+:%d+:%d+):(%d+):(%d+)(.*)$')
  if not start then return nil end
  return start .. ':' .. (deliveries + delivered) .. ':' .. (crashes + delivered - 1) .. rest
end

function release.refusal(delivery, at)
  delivery.fields = fields_of(delivery)
  delivery.fields[2] = recounted(delivery.fields[2], delivery.count)
  if not delivery.fields[2] then return 'M' end
  local target = KEYS[tonumber(ARGV[at])]
  return lane_refusal(base, lanes, target, most) or stream_refusal(target .. ':front')
end

function release.write(delivery, at)
  local target, fields = KEYS[tonumber(ARGV[at])], delivery.fields
  take(delivery)
  open_lane(base, lanes, target, delivery.group)
  local entry = redis.call('XADD', target .. ':front', '*', unpack(fields))
  local current, solo = parse_pointer(delivery.pointer or '')
  if not current or current == delivery.generation then
    solo = math.max(0, (solo or 0) - ARGV[at + 1])
    redis.call('HSET', delivery.bucket, delivery.id,
      pointer_to(delivery.generation, solo, lane_name(base, target) .. ':front', entry))
  end
  count('released', 1)
end

local kinds = { complete = complete, bury = bury, release = release }

local function settle(delivery, kind, at)
  if not owns(delivery.stream, delivery.group, delivery.entry, consumer, delivery.count) then
    count('fenced', 1)
    return '0'
  end
  local pointer = redis.pcall('HGET', delivery.bucket, delivery.id)
  if type(pointer) == 'table' then return 'T' .. delivery.bucket end
  delivery.pointer = pointer
  local refusal = kind.refusal(delivery, at)
  if refusal then return refusal end
  kind.write(delivery, at)
  return '1'
end

local at, words = 9, {}
while at <= #ARGV do
  local kind = kinds[ARGV[at]]
  local delivery = {
    stream = KEYS[tonumber(ARGV[at + 1])], group = ARGV[at + 2], entry = ARGV[at + 3],
    count = ARGV[at + 4], bucket = base .. 'live:' .. ARGV[at + 5], id = ARGV[at + 6],
    generation = ARGV[at + 7],
  }
  words[#words + 1] = settle(delivery, kind, at + 8)
  at = at + 8 + kind.step(at + 8)
end

if born > 0 then
  redis.call('HSET', meta, 'generation', generation)
  count('emitted', born)
end
for what, by in pairs(counted) do
  -- Only 'fenced' can be the first write of a batch; full memory refuses that. And
  -- a counter that is no number must not make a written batch an error.
  redis.pcall('HINCRBY', stats, what, by)
end
local answer = table.concat(words, ' ')
remember(door, number, digest, answer)
return answer
