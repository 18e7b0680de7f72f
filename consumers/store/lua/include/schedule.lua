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

-- The last time that there is a date for, and the highest version that Lua tells from the next.
local LAST_TIME, MOST_VERSION = 253402300799999, 9007199254740991

local function is_number(text, most)
  return string.find(text, '^%d+$') ~= nil and #text <= 16 and tonumber(text) <= most
end

-- Whether a field holds a time or nothing; something else is somebody's who spoiled it.
local function is_time(text) return not text or text == '' or is_number(text, LAST_TIME) end

-- Whether a fire time is not after the last that was dealt with; of a spoiled one nobody knows.
local function is_past(slot, fired)
  if slot == '' or not fired or fired == '' then return false end
  return not is_time(fired) or tonumber(slot) <= tonumber(fired)
end

-- slot is empty when there is no next fire.
local function look_at(schedules, name, slot)
  if slot == '' then redis.call('ZREM', schedules, name) else redis.call('ZADD', schedules, slot, name) end
end
