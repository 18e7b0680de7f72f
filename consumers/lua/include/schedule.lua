-- Schedules: a hash each, and a sorted set of their names by when to look at them (ms).
-- A schedule that is paused or has no next fire is not in the set.

-- Why a schedule is paused that no worker has registered for long: it comes back with its
-- registration. What was paused for any other reason does not.
local UNREGISTERED = 'unregistered'

-- names, the set of all schedules, is looked at where it will be written.
local function schedules_refusal(schedules, schedule, names)
  if names and not is_a(names, 'set') then return redis.error_reply('WRONGTYPE ' .. names) end
  if not is_a(schedules, 'zset') then return redis.error_reply('WRONGTYPE ' .. schedules) end
  if not is_a(schedule, 'hash') then return redis.error_reply('WRONGTYPE ' .. schedule) end
end

-- slot is empty when there is no next fire.
local function look_at(schedules, name, slot)
  if slot == '' then redis.call('ZREM', schedules, name) else redis.call('ZADD', schedules, slot, name) end
end
