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
--
-- Returns 1 when done; 0 when there is no such schedule or its digest is another, when
-- the next fire is not after the last one, and when one that is paused for another reason
-- is to be paused because nobody registered it.
-- Errors: WRONGTYPE; nothing is written then.
-- include lane
-- include schedule
local schedules, schedule, names = KEYS[1], KEYS[2], KEYS[3]
local base, name, what, given, digest = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local refusal = schedules_refusal(schedules, schedule, names)
if refusal then return refusal end
local found = redis.call('HMGET', schedule, 'digest', 'fired', 'paused')
if not found[1] or (digest ~= '' and digest ~= found[1]) then return 0 end

if what == 'remove' then
  redis.call('ZREM', schedules, name)
  redis.call('SREM', names, name)
  redis.call('DEL', schedule)
elseif what == 'pause' then
  if given == UNREGISTERED and found[3] then return 0 end
  redis.call('ZREM', schedules, name)
  redis.call('HSET', schedule, 'paused', given)
else
  if given ~= '' and found[2] and tonumber(given) <= tonumber(found[2]) then return 0 end
  redis.call('HDEL', schedule, 'paused')
  redis.call('HSET', schedule, 'slot', given)
  look_at(schedules, name, given)
end
redis.call('PUBLISH', base .. 'control', 'cron')
return 1
