-- Drop the jobs whose entries somebody deleted, some buckets of the index at a time.
--
-- KEYS[1]  the queue's meta
-- KEYS[2]  the queue's counters
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  how many live buckets there are
-- ARGV[3]  most buckets
-- ARGV[4]  most jobs to look at; the last bucket may go beyond
-- ARGV[5]  most bytes of entries to look at; likewise
--
-- Returns 1 when there is more to look at, else 0, then the ids of the jobs that were dropped.
-- Looks only at the lanes that repair_lane.lua, retire_lane.lua or reclaim.lua has listed in meta, where this
-- keeps how far it has come: any number of workers may take turns. Neither what cannot be looked at is
-- dropped nor what somebody has in hand: he will settle it, with its entry or without.
-- Errors: WRONGTYPE; nothing is written then. A bucket that is none is passed over.
-- include live
-- include clock
-- include meta
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include guard
-- include unlist
-- include ending
-- include holder
local meta, stats = KEYS[1], KEYS[2]
local base, buckets, most_buckets = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local most_jobs, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local asked = redis.call('HGET', meta, 'audit')
if not asked then return { 0 } end
if not is_a(base .. 'waiters', 'hash') then
  return redis.error_reply('WRONGTYPE ' .. base .. 'waiters')
end

local start, names = string.match(asked, '^(%d+) (.+)$')
local places = {}
for lane in string.gmatch(names or '', '%S+') do
  places[lane], places[lane .. ':front'] = true, true
end
local dropped, jobs, bytes = {}, 0, 0

-- In the millisecond in which it is deleted a stream may be made again: with other jobs under
-- the same entry ids.
local function is_of(fields, id)
  local own = false
  for at = 1, #fields, 2 do
    own = own or fields[at] == 'id' and fields[at + 1] == id
    bytes = bytes + #fields[at] + #fields[at + 1]
  end
  return own
end

local function is_gone(place, entry, id)
  local stream = base .. 'lane:' .. place
  local found = redis.pcall('XRANGE', stream, entry, entry)
  if found.err then return false end
  if found[1] then return not is_of(found[1][2], id) end
  return holder(base, stream, entry) == ''
end

-- Nobody knows how it ended: only those who wait are told.
local UNKNOWN_END = { ttl = '0', anybody_waits = true }

local function look_at(bucket)
  local found = redis.pcall('HGETALL', bucket)
  for at = 1, #found, 2 do
    local id, generation, _, place, entry = found[at], live().parse(found[at + 1])
    if places[place] and is_gone(place, entry, id) then
      local run = { bucket = bucket, id = id, generation = generation, pointer = found[at + 1] }
      ending().record(base, run, 'vanished', '', UNKNOWN_END)
      dropped[#dropped + 1] = id
    end
  end
  jobs = jobs + #found / 2
end

-- What somebody wrote in place of the number and the lanes asks for nothing.
local bucket = tonumber(start) or buckets
local last = math.min(buckets, bucket + most_buckets)
while bucket < last and jobs < most_jobs and bytes < most_bytes do
  look_at(base .. 'live:' .. bucket)
  bucket = bucket + 1
end
-- HDEL first: full memory allows it, and then what follows.
redis.call('HDEL', meta, 'audit')
local more = bucket < buckets
if more then redis.call('HSET', meta, 'audit', bucket .. ' ' .. names) end
local given, counted = false, { vanished = #dropped > 0 and #dropped or nil }
table.insert(dropped, 1, more and 1 or 0)
-- include tail
return dropped
