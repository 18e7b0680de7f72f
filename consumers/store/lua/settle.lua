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
-- ARGV[11…] what has come of deliveries. Those of completed jobs without children follow each other
--          in sections, seven a section:
--            plain, index of their stream, group, delivery count, the first and the last of
--              their entries, or the ms of those; packed, five a delivery: entry, live bucket,
--              id, generation and behind it the clauses of its head that an end must know; what
--              is told of the run, see include/facts.lua, a space, the result
--          Any other has nine arguments: kind, index of its stream, group, entry, delivery count,
--          live bucket, id, generation and clauses, what is told of the run; then by kind what
--          include/outcomes/<kind>.lua takes: complete, bury, release, retry, cancel
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
-- include clock
-- include meta
-- include fence
-- include older
-- include leave
-- include unlist
-- include facts
-- include marks
local door, meta, listed, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base, number, digest, consumer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local result_ttl, counted = ARGV[5], {}

-- include door
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'completed')
-- A time to live that Redis does not take would be an error after the acknowledgement.
if not string.find(result_ttl, '^%d+$') or #result_ttl > 12 then
  return redis.error_reply('ERR ' .. result_ttl .. ' ms is not a time to live')
end
local kept, marked = { ttl = result_ttl, anybody_waits = false }, false
-- By the worker's name: what is behind that is another one at each of its starts.
if result_ttl ~= '0' then kept.facts = facts_now((string.gsub(consumer, '%.%x+$', ''))) end
-- Mostly nobody waits for an end, and nothing is cancelled.
if redis.call('EXISTS', base .. 'waiters', base .. 'cancelled', base .. 'cancelling') > 0 then
  kept.anybody_waits, marked = redis.call('HLEN', base .. 'waiters') > 0, any_cancelled(base)
end

local function count(what, by) counted[what] = (counted[what] or 0) + (by or 1) end

-- What only other outcomes need, made when there is one: Lua makes each function anew at every
-- call.
local function others()
  if made.others then return made.others end
  local most_dead = tonumber(ARGV[6])
  local most = { lanes = tonumber(ARGV[9]), event_lanes = tonumber(ARGV[10]) }
-- include enter
-- include shares
-- include live
-- include tell
-- include lane
-- include cancelled
-- include clauses
-- include delayed
-- include dead
-- include guard
-- include admit
-- include ending
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
      count('fenced')
      return '0'
    end
    if not find(delivery) then return 'T' .. delivery.bucket end
    if must_be_cancelled(delivery) then return outcome('cancel').over(delivery) end
    local refusal = outcome(delivery.kind).refusal(delivery, delivery.at)
    if refusal then return refusal end
    outcome(delivery.kind).write(delivery, delivery.at)
    return '1'
  end

  -- Returns a delivery of a section.
  local function plain_at(section, at)
    local entry, bucket, id, asked, text = unpack(section.fields, at, at + 4)
    local told, result = string.match(text, '^([^ ]*) (.*)$')
    local delivery = delivery_of('complete', share_of(section.stream, section.group), entry, section.count,
      bucket, id, asked, told)
    delivery.result = result
    return delivery
  end

  local listed_is_one = false

  -- Returns a delivery that stands by itself, and how many arguments it has.
  local function single_at(at)
    listed_is_one = listed_is_one or redis.call('ZCARD', listed)
    local share = share_of(KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2])
    local delivery = delivery_of(ARGV[at], share, ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6],
      ARGV[at + 7], ARGV[at + 8])
    delivery.at = at + 9
    return delivery, 9 + outcome(delivery.kind).step(delivery.at)
  end

  local function record_plain(section, at, pointer)
    local delivery = plain_at(section, at)
    delivery.pointer = pointer
    ending().record(base, delivery, 'completed', delivery.result, kept, delivery.told)
  end

  -- Settles deliveries one after another, and puts the word of each in its place.
  local function settle_all(deliveries, words)
    look_up(consumer)
    for _, delivery in ipairs(deliveries) do words[delivery.place] = settle(delivery) end
    for _, share in ipairs(shares) do
      if #share.taken > 0 then keep_lag(share.stream, share.taken) end
    end
    if counted.dead then
      letters().trim(base, most_dead, tonumber(ARGV[7]), server_ms() - tonumber(ARGV[8]))
    end
  end

  made.others = { plain_at = plain_at, single_at = single_at, record_plain = record_plain, settle_all = settle_all }
  return made.others
end

-- include plain
-- Looked at first, and written then: those that are plain first. Of two outcomes of one delivery
-- the first counts.
local words, sections, singles, at = {}, {}, {}, 11

local function leave_to_others(delivery)
  singles[#singles + 1], delivery.place = delivery, #words + 1
  words[delivery.place] = ''
end

while at <= #ARGV do
  if ARGV[at] == 'plain' then
    local section = plain_section(at)
    at = at + PLAIN_ARGUMENTS
    local is_alone = #words == 0 and at > #ARGV
    look_at(section, not is_alone and named_in(section.stream, section.group) or nil, words, leave_to_others)
    sections[#sections + 1] = section
  else
    local delivery, arguments = others().single_at(at)
    named_in(delivery.stream, delivery.group)[delivery.entry] = true
    leave_to_others(delivery)
    at = at + arguments
  end
end
for _, section in ipairs(sections) do
  if #section.entries > 0 then complete_all(section) end
end
if #singles > 0 then others().settle_all(singles, words) end
local given, answer = counted.emitted and generation, table.concat(words, ' ')
-- include tail
-- include answer
