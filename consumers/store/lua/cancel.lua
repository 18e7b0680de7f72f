-- Cancel a job, if it has not ended.
--
-- KEYS[1]  the job's live bucket
-- KEYS[2]  the queue's counters
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  job id
-- ARGV[3]  the generation that is meant; empty for whichever lives
-- ARGV[4]  how long its end is kept (ms), 0 for not at all
--
-- Returns a word and the generation:
--   cancelled  nobody had it: it will not run any more
--   requested  a worker has it: it is told, and the job can only end as cancelled
--   too_late   it has ended, or there is none; the generation is 0 then
--   newer_version  one has it where this version cannot reach it: nothing is written
-- What waits in a lane stays there, marked, until it is delivered and passed over: deleting
-- it would spoil the group's lag.
-- Errors: WRONGTYPE; nothing is written then.
-- include live
-- include door
-- include clock
-- include meta
-- include tail
-- include tell
-- include lane
-- include clauses
-- include cancelled
-- include delayed
-- include guard
-- include ending
-- include holder
local bucket, stats = KEYS[1], KEYS[2]
local base, id, meant, result_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not string.find(result_ttl, '^%d+$') or #result_ttl > 12 then
  return redis.error_reply('ERR ' .. result_ttl .. ' ms is no time to live')
end
local pointer = redis.call('HGET', bucket, id) or ''
local generation, _, place, entry = live().parse(pointer)
if not generation or (meant ~= '' and meant ~= generation) then return { 'too_late', 0 } end
if not live().is_known(place) then return { 'newer_version', tonumber(generation) } end
for name, kind in pairs({ cancelled = 'set', cancelling = 'set', waiters = 'hash' }) do
  if not is_a(base .. name, kind) then return redis.error_reply('WRONGTYPE ' .. base .. name) end
end

local counts = {}

-- The job has ended for everybody who asks.
local function record_end(head, counted)
  local run = { bucket = bucket, id = id, generation = generation, pointer = pointer,
    idempotency = clauses().idempotency_of(head) }
  ending().record(base, run, 'cancelled', 'cancelled', { ttl = result_ttl, anybody_waits = true })
  if not counted then counts.cancelled = 1 end
end

local function cancel_put_off()
  local refusal = delayed().refusal(base)
  if refusal then return redis.error_reply('WRONGTYPE ' .. string.sub(refusal, 2)) end
  local packed = redis.call('HGET', base .. 'delayed:envelopes', id)
  if not packed then return { 'too_late', 0 } end
  local job = delayed().envelope_of(base, packed)
  delayed().take_up(base, id, job and job.lane)
  record_end(job and job.fields[2])
  return { 'cancelled', tonumber(generation) }
end

local function cancel_entry()
  local stream, mark = base .. 'lane:' .. place, place .. ' ' .. entry
  if not is_a(stream, 'stream') then return redis.error_reply('WRONGTYPE ' .. stream) end
  -- A pointer that somebody spoiled may name no entry at all.
  local found = redis.pcall('XRANGE', stream, entry, entry)[1]
  if not found then return { 'too_late', 0 } end
  if holder(base, stream, entry) == '' then
    -- It may have been asked for while somebody had it: then it is counted already.
    local counted = redis.call('SREM', base .. 'cancelling', mark) == 1
    record_end(found[2][2], counted)
    redis.call('SADD', base .. 'cancelled', mark)
    return { 'cancelled', tonumber(generation) }
  end
  -- Full memory refuses a first write that adds; this one removes nothing.
  redis.call('SREM', base .. 'cancelled', mark)
  if redis.call('SADD', base .. 'cancelling', mark) == 1 then counts.cancelled = 1 end
  tell().hint(base, 'cancel', mark)
  return { 'requested', tonumber(generation) }
end

local answer = live().is_put_off(place) and cancel_put_off() or cancel_entry()
return finish({ stats = stats, counts = counts, answer = answer }, BUDGET)
