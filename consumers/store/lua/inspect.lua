-- Tell everything that Redis knows of a job, in one step.
--
-- KEYS[1]  the job's live bucket
-- KEYS[2]  its result
-- KEYS[3]  the index of the dead letters
-- KEYS[4]  the dead letters, where the queue's properties name no other stream
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  job id
-- ARGV[3]  when somebody will wait for its end: the channel to tell, else empty
-- ARGV[4]  how long a waiter is remembered (ms)
--
-- Returns the pointer, the fields of its entry, who holds it, how often it was delivered and when
-- (ms, that of its last renewal if there was one; empty and 0 when it waits), its result, the
-- fields of its dead letter and the letter's entry, and the lane that it is in or will be; an
-- empty string or list for what there is not.
-- Errors: WRONGTYPE; nobody waits then.
-- include clock
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include dead
-- include holder
local base, id, channel = ARGV[1], ARGV[2], ARGV[3]
local pointer = redis.call('HGET', KEYS[1], id) or ''

local function put_off()
  local job = delayed().envelope_of(base, redis.call('HGET', base .. 'delayed:envelopes', id))
  return job and job.fields or {}, job and job.lane or ''
end

local fields, consumer, delivered, since = {}, '', 0, 0
local generation, _, place, entry = live().parse(pointer)
local lane = place or ''
if generation and live().is_put_off(place) then
  fields, lane = put_off()
elseif generation then
  local stream = base .. 'lane:' .. place
  local found = redis.pcall('XRANGE', stream, entry, entry)
  if not found.err and found[1] then
    fields = found[1][2]
    local idle
    consumer, delivered, idle = holder(base, stream, entry)
    if consumer ~= '' then since = server_ms() - idle end
  end
end
-- What a newer version has in a place of its own is live, and nothing else is known of it.
if #fields == 0 and (not place or live().is_known(place)) then pointer, lane = '', '' end

-- A process that was killed is never taken out. Who waits and is not told finds the end with
-- its next look.
local MOST_WAITERS = 100

local function with_room(channels)
  local _, number = string.gsub(channels, '%S+', '')
  if number < MOST_WAITERS then return channels end
  return (string.gsub(channels, '^%S+ ', ''))
end

local letter_entry = redis.call('HGET', KEYS[3], id) or ''
local letter = letter_entry ~= '' and redis.call('XRANGE', letters().stream(base), letter_entry, letter_entry)[1]
local result = redis.call('GET', KEYS[2]) or ''

-- Somebody waits: settle tells them. Looked up in the same step, so nothing is missed.
if pointer ~= '' and channel ~= '' then
  local channels = redis.call('HGET', base .. 'waiters', id) or ''
  if not string.find(' ' .. channels .. ' ', ' ' .. channel .. ' ', 1, true) then
    -- Full memory refuses this: then the wait costs a look every few seconds.
    redis.pcall('HSET', base .. 'waiters', id,
      channels == '' and channel or with_room(channels) .. ' ' .. channel)
    redis.call('PEXPIRE', base .. 'waiters', ARGV[4])
  end
end

return { pointer, fields, consumer, delivered, since, result,
  letter and letter[2] or {}, letter and letter_entry or '', lane }
