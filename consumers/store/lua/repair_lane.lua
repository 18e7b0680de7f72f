-- Make lost groups of a listed lane again, from the first entry on.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's lanes
-- KEYS[3]  the lane
-- ARGV[1]  the lane's name
-- ARGV[2]  group
--
-- Returns two lists: the streams (of the lane and its front) that had lost their group, and
-- those that did not exist. A higher epoch then tells fences of runs before the loss from those
-- after it, and audit_live.lua is asked to look for the jobs that were lost: who emits may have made
-- a deleted stream again, so that it only seems to have lost its group.
-- Errors: WRONGTYPE and OOM; a foreign value in the lane or its front does not
-- keep the other from being repaired.
-- include tell
-- include lane
-- include clock
-- include meta
-- include audits
local meta, listed, lane = KEYS[1], KEYS[2], KEYS[3]
if not redis.call('ZSCORE', listed, ARGV[1]) then return { {}, {} } end
redis.call('HGET', meta, 'epoch')
local regrouped, remade, failure = {}, {}, nil

local function repair(stream)
  local into = kind_of(stream) == 'none' and remade or regrouped
  local made = redis.pcall('XGROUP', 'CREATE', stream, ARGV[2], '0', 'MKSTREAM')
  if not made.err then
    into[#into + 1] = stream
  elseif not string.find(made.err, 'BUSYGROUP') then
    failure = made.err
  end
end

repair(lane)
repair(lane .. ':front')
if #regrouped + #remade > 0 then
  name_epoch(meta, now_ms())
  -- An epoch that is no number must not keep the jobs that went from being looked for.
  redis.pcall('HINCRBY', meta, 'epoch', 1)
  ask_for_audit(meta, ARGV[1])
end
if failure then return redis.error_reply(failure) end
return { regrouped, remade }
