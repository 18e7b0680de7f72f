-- Tell which jobs are live still, each as one generation of its id, many at once.
--
-- KEYS[1]  the queue's meta; only the slot counts
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  most bytes of entries to look at; the last may go beyond
-- ARGV[3…] three a job: live bucket, job id, generation
--
-- Returns one character a job: 1 live, 0 not any more. Where the entries are large it answers
-- for the first jobs only: ask again for the rest.
-- A job is live that a worker has in hand, with its entry or without: that will settle it; and one
-- that a newer version has in a place of its own.
-- Errors: WRONGTYPE, for all of them.
-- include live
-- include tell
-- include lane
-- include holder
local base, room, flags = ARGV[1], tonumber(ARGV[2]), {}

local function is_there(id, place, entry)
  if not live().is_known(place) then return true end
  if live().is_put_off(place) then
    return redis.pcall('HEXISTS', base .. 'delayed:envelopes', id) == 1
  end
  local stream = base .. 'lane:' .. place
  if holder(base, stream, entry) ~= '' then return true end
  local found = redis.pcall('XRANGE', stream, entry, entry)[1]
  for _, field in ipairs(found and found[2] or {}) do room = room - #field end
  return found ~= nil
end

local function is_live(bucket, id, meant)
  local pointer = redis.call('HGET', base .. 'live:' .. bucket, id)
  local generation, _, place, entry = live().parse(pointer or '')
  return generation == meant and is_there(id, place, entry)
end

for at = 3, #ARGV, 3 do
  if room <= 0 then break end
  flags[#flags + 1] = is_live(ARGV[at], ARGV[at + 1], ARGV[at + 2]) and '1' or '0'
end
return table.concat(flags)
