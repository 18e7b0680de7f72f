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
-- ARGV[6]  most dead letters, 0 to keep none
-- ARGV[7]  most bytes of dead letters
-- ARGV[8]  how long dead letters are kept (ms)
-- ARGV[9]  most lanes
-- ARGV[10] most lanes of single events
-- ARGV[11…] eight a delivery: kind, index of its stream, group, entry, delivery count,
--          live bucket, id, generation and behind a space, where there is one, the hash of
--          its idempotency key; then by kind
--   complete  result, number of children, eight a child as in emit,
--             number of children of other queues, nine each: queue, lane, live bucket, id,
--             event, data, options, when it is due, guard
--   bury      reason, error, raw bytes of an entry that is not a job, last errors (JSON)
--   release   index of the stream it goes to, 1 when it was to run solo else 0, 1 when its
--             handler had begun else 0
--   retry     index of its lane, when it is due ("+<ms>" from now), 1 when an attempt is
--             used up else 0, its errors so far (JSON)
--   cancel    reason
--
-- Returns one word a delivery, separated by spaces:
--   1       recorded             0  not ours any more: nothing written
--   C       it was cancelled: that is what is recorded, whatever was asked
--   L       too many lanes       T<key>  a foreign value is in the way, or the last
--   M       the entry to release         id an entry can have
--           is missing or no job
-- Errors: WRITERREFUSED, LAYOUT, WRONGTYPE, a broken generation; nothing is
-- written then.
-- include door
-- include fence
-- include shares
-- include live
-- include lane
-- include cancelled
-- include delayed
-- include dead
-- include waiters
-- include guard
-- include admit
-- include meta
-- include begun
local door, meta, lanes, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, number, digest, consumer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local result_ttl, most_dead = ARGV[5], tonumber(ARGV[6])
local most_dead_bytes, dead_max_age = tonumber(ARGV[7]), tonumber(ARGV[8])
local most = { lanes = tonumber(ARGV[9]), event_lanes = tonumber(ARGV[10]) }

local answered = remembered(door, number, digest)
if answered then return answered end
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'completed')
redis.call('ZCARD', lanes)
local anybody_waits = redis.call('HLEN', base .. 'waiters') > 0
-- A time to live that Redis does not take would be an error after the acknowledgement.
if not string.find(result_ttl, '^%d+$') or #result_ttl > 12 then
  return redis.error_reply('ERR ' .. result_ttl .. ' ms is no time to live')
end

local now, counted = now_ms(), {}
local born = 0

local function count(what, by) counted[what] = (counted[what] or 0) + by end

-- Whether the entry that a group was given last is deleted now, and Redis counts its lag.
local function has_lost_track(group, taken)
  local last, counts_lag = nil, false
  for at = 1, #group, 2 do
    if group[at] == 'last-delivered-id' then last = group[at + 1] end
    counts_lag = counts_lag or group[at] == 'lag'
  end
  return counts_lag and taken[last]
end

-- When that entry is deleted while an older one runs, Redis 7 does not know any more how many
-- wait behind it: its lag is NULL until the next delivery. Since nobody deletes what waits,
-- Redis may forget instead that anything was deleted.
local function keep_lag(stream, taken)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if has_lost_track(group, taken) and redis.call('XLEN', stream) > 0 then
      local facts = stream_facts(stream)
      redis.pcall('XSETID', stream, facts['last-generated-id'],
        'ENTRIESADDED', facts['entries-added'], 'MAXDELETEDID', '0-1')
    end
  end
end

-- XACK first: it is allowed under maxmemory, and what follows it then is too.
local function take(delivery)
  delivery.share.taken[delivery.entry] = true
  redis.call('XACK', delivery.stream, delivery.group, delivery.entry)
  redis.call('XDEL', delivery.stream, delivery.entry)
end

-- Whether the index leads to this very run.
local function is_listed(delivery)
  return delivery.pointer and generation_in(delivery.pointer) == delivery.generation
end

local function leave_live(delivery)
  if is_listed(delivery) then redis.call('HDEL', delivery.bucket, delivery.id) end
end

local function fields_of(delivery)
  local found = redis.call('XRANGE', delivery.stream, delivery.entry, delivery.entry)[1]
  return found and found[2] or {}
end

-- Keeps how a run ended for those who ask; the generation tells runs of one id apart.
local function keep_end(delivery, state, value)
  expire_guard(base, delivery.idempotency, delivery.id, delivery.generation)
  if anybody_waits then tell_waiters(base, delivery.id, delivery.generation, state, value) end
  if result_ttl == '0' then return end
  redis.call('SET', base .. 'result:' .. delivery.id, delivery.generation .. ' ' .. state .. ' ' .. value,
    'PX', result_ttl)
end

-- What keeps a stream from taking an entry, checked before the job leaves its lane.
local function stream_refusal(key)
  if not is_a(key, 'stream') or exhausted(key) then return 'T' .. key end
end

local OUT_FIELDS = 9
local outbox = base .. 'outbox'

-- The arguments of complete: result, children of this queue, children of others.
local function children_at(at) return at + 2, tonumber(ARGV[at + 1]) end

local function outbound_at(at)
  local first, number = children_at(at)
  local after = first + JOB_FIELDS * number
  return after + 1, tonumber(ARGV[after])
end

local complete = {}

function complete.step(at)
  local first, number = outbound_at(at)
  return first + OUT_FIELDS * number - at
end

-- A child with its parent's id enters: the parent leaves before it.
local function child_refusal(delivery, child, opening)
  local found, refusal = look(base, child)
  if refusal then return refusal end
  if found and not is_changed(found) and found.id ~= delivery.id then return nil end
  refusal = entry_refusal(base, lanes, child, most, opening)
  if refusal or opening.checked[child.stream] then return refusal end
  opening.checked[child.stream] = true
  return stream_refusal(child.stream)
end

function complete.refusal(delivery, at)
  local opening, first, number = { checked = {} }, children_at(at)
  for child = first, first + JOB_FIELDS * (number - 1), JOB_FIELDS do
    local refusal = child_refusal(delivery, job_at(child), opening)
    if refusal then return refusal end
  end
  local _, outbound = outbound_at(at)
  return outbound > 0 and stream_refusal(outbox) or nil
end

local function add_children(at)
  local first, number = children_at(at)
  for child = first, first + JOB_FIELDS * (number - 1), JOB_FIELDS do
    local job = job_at(child)
    local found = look(base, job)
    if found then
      absorb(base, lanes, stats, job, found, now)
    else
      generation, born = generation + 1, born + 1
      admit(base, lanes, job, generation, now)
    end
  end
end

-- The epoch of the outbox: when the queue began, and how many outboxes it has had. Of one that
-- was made again entries may be lower than those of the one before.
local function epoch_of_outbox()
  if kind_of(outbox) == 'none' then
    name_epoch(meta, now)
    redis.pcall('HINCRBY', meta, 'outboxes', 1)
  end
  local found = redis.call('HMGET', meta, 'began', 'outboxes')
  return (found[1] or '') .. '.' .. (found[2] or '')
end

-- Children of other queues lie in slots that this script must not touch: they
-- are committed here, and relayed from here in order.
local function post_children(at)
  local first, number = outbound_at(at)
  if number == 0 then return end
  local epoch = epoch_of_outbox()
  for child = first, first + OUT_FIELDS * (number - 1), OUT_FIELDS do
    redis.call('XADD', outbox, '*', 'queue', ARGV[child], 'lane', ARGV[child + 1],
      'bucket', ARGV[child + 2], 'id', ARGV[child + 3], 'event', ARGV[child + 4],
      'data', ARGV[child + 5], 'options', ARGV[child + 6], 'due', ARGV[child + 7],
      'guard', ARGV[child + 8], 'epoch', epoch)
  end
  redis.pcall('PUBLISH', base .. 'control', 'outbox')
end

function complete.write(delivery, at)
  take(delivery)
  leave_live(delivery)
  keep_end(delivery, 'completed', ARGV[at])
  add_children(at)
  post_children(at)
  count('completed', 1)
end

local bury = { step = function() return 4 end }

function bury.refusal() return burial_refusal(base) end

-- The facts of a letter: what went wrong, and the entry as it was.
local function letter_facts(delivery, at)
  local facts = { 'reason', ARGV[at], 'error', ARGV[at + 1], 'errors', ARGV[at + 3],
    'delivered', delivery.count }
  if ARGV[at + 2] ~= '' then
    facts[#facts + 1], facts[#facts + 2] = 'raw', ARGV[at + 2]
    return facts
  end
  local fields = fields_of(delivery)
  for at_field = 1, #fields, 2 do
    if fields[at_field] ~= 'errors' then
      facts[#facts + 1], facts[#facts + 2] = fields[at_field], fields[at_field + 1]
    end
  end
  return facts
end

function bury.write(delivery, at)
  local facts = letter_facts(delivery, at)
  take(delivery)
  leave_live(delivery)
  local entry = ''
  if most_dead > 0 then
    local lane = string.gsub(lane_name(base, delivery.stream), ':front$', '')
    entry = add_letter(base, delivery.id, lane, delivery.group, facts)
  end
  keep_end(delivery, 'dead', entry)
  count('dead', 1)
end

local release = { step = function() return 3 end }

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
  if ARGV[at + 2] == '1' then fields[2] = as_begun(fields[2]) end
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

local retry = { step = function() return 4 end }

local function failed(head, attempts)
  local start, failures, rest = string.match(head, '^(%d+:%d+:%d+):(%d+)(:.*)$')
  return start .. ':' .. (failures + attempts) .. rest
end

function retry.refusal(delivery, at)
  delivery.fields = fields_of(delivery)
  delivery.fields[2] = recounted(delivery.fields[2], delivery.count)
  if not delivery.fields[2] then return 'M' end
  local stream = KEYS[tonumber(ARGV[at])]
  return delayed_refusal(base) or lane_refusal(base, lanes, stream, most) or stream_refusal(stream)
end

function retry.write(delivery, at)
  local stream, fields = KEYS[tonumber(ARGV[at])], delivery.fields
  -- The job is out of its lane in a moment: nothing after that may be an error.
  local delay = math.max(0, tonumber(ARGV[at + 1]) or 0)
  local lane = lane_name(base, stream)
  fields[2] = failed(fields[2], ARGV[at + 2])
  -- Failures say it by themselves.
  if ARGV[at + 2] == '0' then fields[2] = as_begun(fields[2]) end
  if ARGV[at + 3] ~= '' then fields[11], fields[12] = 'errors', ARGV[at + 3] end
  take(delivery)
  open_lane(base, lanes, stream, delivery.group)
  local current = parse_pointer(delivery.pointer or '')
  if current and current ~= delivery.generation then
    -- The id was taken over: this one is still owed its run, but has no place in the index.
    redis.call('XADD', stream, '*', unpack(fields))
  elseif delay > 0 then
    -- A millisecond more, because now was rounded down: never early.
    put_off(base, delivery.bucket, delivery.id, delivery.generation, lane, delivery.group, fields,
      now + delay + 1, 'retrying')
  else
    local entry = redis.call('XADD', stream, '*', unpack(fields))
    redis.call('HSET', delivery.bucket, delivery.id, pointer_to(delivery.generation, 0, lane, entry))
  end
  count('retried', 1)
end

local cancel = { step = function() return 1 end }

function cancel.refusal() end

function cancel.write(delivery, at)
  take(delivery)
  leave_live(delivery)
  keep_end(delivery, 'cancelled', ARGV[at])
  count('cancelled', 1)
end

-- A cancelled entry can only end so. Of one that was cancelled while it waited that was
-- recorded then; and of a run whose id was taken over, the index and the result are another's.
local function end_cancelled(delivery, name)
  take(delivery)
  unmark(base, name, delivery.entry)
  if is_listed(delivery) then
    leave_live(delivery)
    keep_end(delivery, 'cancelled', 'cancelled')
    return 'C'
  end
  expire_guard(base, delivery.idempotency, delivery.id, delivery.generation)
  if anybody_waits then
    tell_waiters(base, delivery.id, delivery.generation, 'cancelled', 'cancelled', true)
  end
  return 'C'
end

local marked = any_cancelled(base)
local kinds = { complete = complete, bury = bury, release = release, retry = retry, cancel = cancel }

local function is_ours(delivery)
  return holds(delivery.share, delivery.entry, consumer, delivery.count)
end

-- Whether whoever ends this delivery can only record that it was cancelled.
local function is_over(delivery)
  return marked and is_cancelled(base, lane_name(base, delivery.stream), delivery.entry)
end

-- Reads where the index says that the job is; false when a foreign value is in the way.
local function find(delivery)
  local pointer = redis.pcall('HGET', delivery.bucket, delivery.id)
  if type(pointer) == 'table' then return false end
  delivery.pointer = pointer
  return true
end

local function settle(delivery)
  if not is_ours(delivery) then
    count('fenced', 1)
    return '0'
  end
  if not find(delivery) then return 'T' .. delivery.bucket end
  if is_over(delivery) then return end_cancelled(delivery, lane_name(base, delivery.stream)) end
  local refusal = delivery.kind.refusal(delivery, delivery.at)
  if refusal then return refusal end
  delivery.kind.write(delivery, delivery.at)
  return '1'
end

-- A completion without children asks nothing of any lane.
local function is_plain(delivery)
  return delivery.kind == complete and complete.step(delivery.at) == 3
    and is_ours(delivery) and not is_over(delivery) and find(delivery)
end

-- Those of a share leave together: XDEL looks for a stream's new first entry only once then.
local function complete_all(deliveries)
  for _, share in ipairs(shares) do
    if #share.plain > 0 then
      redis.call('XACK', share.stream, share.group, unpack(share.plain))
      redis.call('XDEL', share.stream, unpack(share.plain))
    end
  end
  for _, delivery in ipairs(deliveries) do
    leave_live(delivery)
    keep_end(delivery, 'completed', ARGV[delivery.at])
  end
  count('completed', #deliveries)
end

local function delivery_at(at)
  local stream, group, entry, run = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3], ARGV[at + 7]
  local share, key = share_of(stream, group), string.find(run, ' ', 1, true)
  share.entries[#share.entries + 1] = entry
  return {
    kind = kinds[ARGV[at]], stream = stream, group = group, entry = entry, share = share,
    count = ARGV[at + 4], bucket = base .. 'live:' .. ARGV[at + 5], id = ARGV[at + 6],
    generation = key and string.sub(run, 1, key - 1) or run,
    idempotency = key and string.sub(run, key + 1), at = at + 8,
  }
end

local deliveries, at = {}, 11
while at <= #ARGV do
  local delivery = delivery_at(at)
  deliveries[#deliveries + 1] = delivery
  at = delivery.at + delivery.kind.step(delivery.at)
end
look_up(consumer)

-- Most outcomes are plain: they are written together and first, the others one after another.
-- Of two outcomes of one delivery the first counts.
local words, plain, others = {}, {}, {}
for number, delivery in ipairs(deliveries) do
  local share, entry = delivery.share, delivery.entry
  if is_plain(delivery) and not (others[share] and others[share][entry]) then
    plain[#plain + 1], words[number] = delivery, '1'
    share.plain[#share.plain + 1], share.taken[entry] = entry, true
  else
    others[share] = others[share] or {}
    others[share][entry] = true
  end
end
if #plain > 0 then complete_all(plain) end
for number, delivery in ipairs(deliveries) do
  words[number] = words[number] or settle(delivery)
end

for _, share in ipairs(shares) do
  if next(share.taken) then keep_lag(share.stream, share.taken) end
end
if counted.dead then trim_letters(base, most_dead, most_dead_bytes, now - dead_max_age) end
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
