-- Cancel a job, if it has not ended.
--
-- KEYS[1]  the job's live bucket
-- KEYS[2]  the queue's counters
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  job id
-- ARGV[3]  the generation that is meant; empty for whichever lives
-- ARGV[4]  how long its end is kept (ms), 0 for not at all
--
-- Returns a word, the generation, and for cancelled what is kept of the run beside its end:
--   cancelled  nobody had it: it will not run any more
--   requested  a worker has it: it is told, and the job can only end as cancelled
--   too_late   it has ended, or there is none; the generation is 0 then
--   newer_version  one has it where this version cannot reach it: nothing is written
-- What waits in a lane stays there, marked, until it is delivered and passed over: deleting
-- it would spoil the group's lag.
-- Errors: WRONGTYPE; nothing is written then.
-- include live
-- include clock
-- include meta
-- include tell
-- include lane
-- include clauses
-- include cancelled
-- include delayed
-- include guard
-- include facts
-- include unlist
-- include ending
-- include holder
local bucket, stats = KEYS[1], KEYS[2]
local base, id, meant, result_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not string.find(result_ttl, '^%d+$') or #result_ttl > 12 then
  return redis.error_reply('ERR ' .. result_ttl .. ' ms is not a time to live')
end
local pointer = redis.call('HGET', bucket, id) or ''
local generation, _, place, entry = live().parse(pointer)
if not generation or (meant ~= '' and meant ~= generation) then return { 'too_late', 0 } end
if not live().is_known(place) then return { 'newer_version', tonumber(generation) } end
for name, kind in pairs({ cancelled = 'set', cancelling = 'set', waiters = 'hash' }) do
  if not is_a(base .. name, kind) then return redis.error_reply('WRONGTYPE ' .. base .. name) end
end

local given, counted = false, {}

-- What is told of the run of a job that nobody has, by the fields of its entry.
local function told_of(fields)
  local said = clauses().read(fields[2])
  if not said then return '' end
  local first, starts, about = clauses().first_start(said), '', ''
  if first or tonumber(said.failures) > 0 then
    starts = (first and first - said.created or '') .. '//' .. said.failures
  end
  if fields[5] == 'event' and string.find(fields[6], '^%w[%w._-]*$') then about = fields[6] end
  return said.created .. ',' .. starts .. ',' .. about .. errors_part(fields)
end

-- The job has ended for everybody who asks.
local function record_end(fields, is_counted)
  local run = { bucket = bucket, id = id, generation = generation, pointer = pointer,
    idempotency = clauses().idempotency_of(fields[2]) }
  local told, kept = told_of(fields), { ttl = result_ttl, anybody_waits = true }
  kept.facts = facts_now('')
  ending().record(base, run, 'cancelled', 'cancelled', kept, told)
  if not is_counted then counted.cancelled = 1 end
  return { 'cancelled', tonumber(generation), told == '' and '' or kept.facts .. told }
end

local function cancel_put_off()
  local refusal = delayed().refusal(base)
  if refusal then return redis.error_reply('WRONGTYPE ' .. string.sub(refusal, 2)) end
  local packed = redis.call('HGET', base .. 'delayed:envelopes', id)
  if not packed then return { 'too_late', 0 } end
  local job = delayed().envelope_of(base, packed)
  delayed().take_up(base, id, job and job.lane)
  return record_end(job and job.fields or {})
end

local function cancel_entry()
  local stream, mark = base .. 'lane:' .. place, place .. ' ' .. entry
  if not is_a(stream, 'stream') then return redis.error_reply('WRONGTYPE ' .. stream) end
  -- A pointer that somebody spoiled may name no entry at all.
  local found = redis.pcall('XRANGE', stream, entry, entry)[1]
  if not found then return { 'too_late', 0 } end
  if holder(base, stream, entry) == '' then
    -- It may have been asked for while somebody had it: then it is counted already.
    local is_counted = redis.call('SREM', base .. 'cancelling', mark) == 1
    local ended = record_end(found[2], is_counted)
    redis.call('SADD', base .. 'cancelled', mark)
    return ended
  end
  -- Full memory refuses a first write that adds; this one removes nothing.
  redis.call('SREM', base .. 'cancelled', mark)
  if redis.call('SADD', base .. 'cancelling', mark) == 1 then counted.cancelled = 1 end
  tell().hint(base, 'cancel', mark)
  return { 'requested', tonumber(generation) }
end

local answer = live().is_put_off(place) and cancel_put_off() or cancel_entry()
-- include tail
return answer
