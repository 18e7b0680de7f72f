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
-- ARGV[11…] nine a delivery: kind, index of its stream, group, entry, delivery count,
--          live bucket, id, generation and behind it the clauses of its head that an end must
--          know, what is told of the run to be kept with its end, see include/facts.lua;
--          then by kind what include/outcomes/<kind>.lua takes: complete, bury, release,
--          retry, cancel; plain is to complete without children, and takes the result
--
-- Returns one word a delivery, separated by spaces:
--   1       recorded             0  not ours any more: nothing written
--   C       it was cancelled: that is what is recorded, whatever was asked
--   L       too many lanes       T<key>  a foreign value is in the way, or the last
--   M       the entry to release         id an entry can have
--           is missing or no job   U<letter>  only a newer version knows this
--                                  clause of a child's guard
-- Errors: WRITERREFUSED, LAYOUT, WRONGTYPE, a broken generation; nothing is
-- written then.
-- include door
-- include clock
-- include meta
-- include tail
-- include enter
-- include fence
-- include shares
-- include live
-- include tell
-- include lane
-- include lag
-- include cancelled
-- include clauses
-- include delayed
-- include dead
-- include guard
-- include admit
-- include facts
-- include ending
local door, meta, listed, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, number, digest, consumer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local result_ttl, most_dead = ARGV[5], tonumber(ARGV[6])
local most = { lanes = tonumber(ARGV[9]), event_lanes = tonumber(ARGV[10]) }

local answered = remembered(door, number, digest)
if answered then return answered end
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'completed')
redis.call('ZCARD', listed)
local kept = { ttl = result_ttl, anybody_waits = redis.call('HLEN', base .. 'waiters') > 0 }
-- A time to live that Redis does not take would be an error after the acknowledgement.
if not string.find(result_ttl, '^%d+$') or #result_ttl > 12 then
  return redis.error_reply('ERR ' .. result_ttl .. ' ms is not a time to live')
end
-- By the worker's name: what is behind that is another one at each of its starts.
if result_ttl ~= '0' then kept.facts = facts_now((string.gsub(consumer, '%.%x+$', ''))) end

local counted = {}

local function count(what, by) counted[what] = (counted[what] or 0) + by end

-- include delivery
-- What a delivery may come to, each made when a delivery first does: step says how many
-- arguments it has, refusal why it cannot be recorded now, and write records it.
local outcomes = {}
-- include outcomes/complete
-- include outcomes/bury
-- include outcomes/release
-- include outcomes/retry
-- include outcomes/cancel

local function outcome(kind)
  if type(outcomes[kind]) == 'function' then outcomes[kind] = outcomes[kind]() end
  return outcomes[kind]
end

local function settle(delivery)
  if not is_ours(delivery) then
    count('fenced', 1)
    return '0'
  end
  if not find(delivery) then return 'T' .. delivery.bucket end
  if must_be_cancelled(delivery) then return outcome('cancel').over(delivery) end
  local refusal = outcome(delivery.kind).refusal(delivery, delivery.at)
  if refusal then return refusal end
  outcome(delivery.kind).write(delivery, delivery.at)
  return '1'
end

-- include plain
local deliveries, at = {}, 11
while at <= #ARGV do
  local delivery = delivery_at(at)
  deliveries[#deliveries + 1] = delivery
  at = delivery.at + (delivery.plain and 1 or outcome(delivery.kind).step(delivery.at))
end
look_up(consumer)

-- Most outcomes are plain: they are written together and first, the others one after another.
-- Of two outcomes of one delivery the first counts.
local words, plain, others = {}, {}, {}
for number, delivery in ipairs(deliveries) do
  local share, entry = delivery.share, delivery.entry
  if can_be_plain(delivery) and not (others[share] and others[share][entry]) then
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
if counted.dead then
  letters().trim(base, most_dead, tonumber(ARGV[7]), server_ms() - tonumber(ARGV[8]))
end
return finish({
  meta = meta, generation = counted.emitted and generation, stats = stats, counts = counted,
  door = door, number = number, digest = digest, answer = table.concat(words, ' '),
}, BUDGET)
