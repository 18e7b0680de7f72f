-- Pause or resume a queue, or one event of it.
--
-- KEYS[1]  the queue's meta
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  pause or resume
-- ARGV[3]  the event; empty for the whole queue
-- ARGV[4]  most events that may be paused one by one
--
-- Returns the number of the pause state that is in force now, -1 when too many events are
-- paused. Workers confirm by this number what they obey.
-- Errors: LAYOUT, WRONGTYPE, a broken number; nothing is written then.
-- include clock
-- include tell
-- include meta
local meta, base, pauses, event = KEYS[1], ARGV[1], ARGV[2] == 'pause', ARGV[3]
local _, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
local found = redis.call('HMGET', meta, 'pause_state', 'paused_events')
if not string.find(found[1] or '0', '^%d+$') or #(found[1] or '0') > 15 then
  return redis.error_reply('ERR ' .. meta .. ' holds a pause_state that is not a number')
end

local function others()
  local kept = {}
  for name in string.gmatch(found[2] or '', '%S+') do
    if name ~= event then kept[#kept + 1] = name end
  end
  return kept
end

-- Full memory refuses a first write that adds.
redis.call('HDEL', meta, 'no such field')
if event == '' then
  if pauses then redis.call('HSET', meta, 'paused', 1) else redis.call('HDEL', meta, 'paused') end
else
  local names = others()
  if pauses then
    if #names >= tonumber(ARGV[4]) then return -1 end
    names[#names + 1] = event
  end
  table.sort(names)
  if #names == 0 then
    redis.call('HDEL', meta, 'paused_events')
  else
    redis.call('HSET', meta, 'paused_events', table.concat(names, ' '))
  end
end
name_epoch(meta, now_ms())
local state = redis.call('HINCRBY', meta, 'pause_state', 1)
tell().hint(base, 'pause')
return state
