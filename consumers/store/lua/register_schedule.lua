-- Register a schedule, or say that its definition is still in use.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's schedules
-- KEYS[3]  the schedule
-- KEYS[4]  the names of all schedules of the queue
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  its name
-- ARGV[3]  digest of its definition
-- ARGV[4]  version of its definition
-- ARGV[5]  its definition
-- ARGV[6]  its next fire (ms), empty when there is none
-- ARGV[7]  where it comes from: handler or emit
-- ARGV[8]  1 to put the definition in force, 0 to confirm it only
-- ARGV[9]  most schedules of a queue
--
-- Returns a word and the next fire:
--   created, replaced   this definition is in force from now on
--   kept                it was in force, and its next fire stays
--   older               one of a higher version is in force
--   other, unknown      asked to confirm only, and another one is in force, or none
--   past                its next fire is not after the last one, which comes in its place:
--                       nothing is written
--   full                the queue has its most schedules
-- A fire time is never given twice, whatever is registered: the next one is after the last.
-- A version or times that somebody spoiled are put right.
-- Errors: LAYOUT, WRONGTYPE, OOM; nothing is written then.
-- include tell
-- include lane
-- include clock
-- include meta
-- include schedule
local meta, schedules, schedule, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- The version stays the string that it is: as a number Lua would write it rounded.
local base, name, digest, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local definition, slot, source = ARGV[5], ARGV[6], ARGV[7]
local _, refusal = last_generation(meta)
refusal = refusal or schedules_refusal(schedules, schedule, names)
if refusal then return refusal end
local found = redis.call('HMGET', schedule, 'digest', 'version', 'slot', 'fired', 'paused',
  'registered')
local now = now_ms()

local known = is_number(found[2] or '', MOST_VERSION) and found[2] or '0'
local mended = found[2] ~= known or not found[6] or not is_number(found[6], LAST_TIME)
local spoiled = not (is_time(found[3]) and is_time(found[4]))
-- A fire that was computed before the last one happened, or by a clock that was set back.
local past = is_time(found[4]) and is_past(slot, found[4])

local function unpaused() return not found[5] or found[5] == UNREGISTERED end

local function put_in_force()
  redis.call('HSET', schedule, 'digest', digest, 'version', version, 'definition', definition,
    'slot', slot, 'source', source, 'registered', now)
  if not is_time(found[4]) then redis.call('HDEL', schedule, 'fired') end
  redis.call('SADD', names, name)
  if unpaused() then
    redis.call('HDEL', schedule, 'paused')
    look_at(schedules, name, slot)
  end
  name_epoch(meta, now)
  tell().hint(base, 'cron')
end

if found[1] == digest then
  -- The highest version that uses it counts: one between must not replace it.
  if tonumber(known) > tonumber(version) then version = known end
  local comes_back = found[5] == UNREGISTERED or spoiled
  if comes_back and past then return { 'past', found[4] } end
  redis.call('HSET', schedule, 'registered', now, 'version', version)
  if comes_back then
    put_in_force()
  elseif mended then
    tell().hint(base, 'cron')
  end
  return { 'kept', comes_back and slot or found[3] or '' }
end
if ARGV[8] == '0' then return { found[1] and 'other' or 'unknown', '' } end
if found[1] and tonumber(version) < tonumber(known) then return { 'older', found[3] or '' } end
if not found[1] and redis.call('SCARD', names) >= tonumber(ARGV[9]) then return { 'full', '' } end
if past then return { 'past', found[4] } end
put_in_force()
return { found[1] and 'replaced' or 'created', slot }
