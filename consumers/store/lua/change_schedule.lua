-- Pause, resume or remove a schedule.
--
-- KEYS[1]  the queue's schedules
-- KEYS[2]  the schedule
-- KEYS[3]  the names of all schedules of the queue
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  its name
-- ARGV[3]  pause, resume or remove
-- ARGV[4]  pause: why; resume: its next fire (ms), empty when there is none
-- ARGV[5]  the digest it must have; empty for any
-- ARGV[6]  pause: when it must have been registered last (ms); empty for any time
--
-- Returns a word:
--   done
--   unknown   there is no such schedule
--   other     its digest is another
--   past      resume: the next fire is not after the last one
--   kept      pause, because nobody registered it: it is paused for another reason, or
--             was registered meanwhile
-- Errors: WRONGTYPE; nothing is written then.
-- include tell
-- include lane
-- include schedule
local schedules, schedule, names = KEYS[1], KEYS[2], KEYS[3]
local base, name, what, given = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local digest, registered = ARGV[5], ARGV[6]
local refusal = schedules_refusal(schedules, schedule, names)
if refusal then return refusal end
local found = redis.call('HMGET', schedule, 'digest', 'fired', 'paused', 'registered')
if not found[1] then return 'unknown' end
if digest ~= '' and digest ~= found[1] then return 'other' end

if what == 'remove' then
  redis.call('ZREM', schedules, name)
  redis.call('SREM', names, name)
  redis.call('DEL', schedule)
elseif what == 'pause' then
  if given == UNREGISTERED and found[3] then return 'kept' end
  if registered ~= '' and registered ~= found[4] then return 'kept' end
  redis.call('ZREM', schedules, name)
  redis.call('HSET', schedule, 'paused', given)
else
  if is_past(given, found[2]) then return 'past' end
  redis.call('HDEL', schedule, 'paused')
  redis.call('HSET', schedule, 'slot', given)
  look_at(schedules, name, given)
end
tell().hint(base, 'cron')
return 'done'
