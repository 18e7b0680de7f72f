-- Take over deliveries of one stream whose lease has run out, in one bounded step.
--
-- KEYS[1]  the stream
-- KEYS[2]  the queue's counters
-- KEYS[3]  the queue's meta
-- ARGV[1]  group
-- ARGV[2]  the consumer that takes them
-- ARGV[3]  lease (ms)
-- ARGV[4]  where to start: - or ( and the entry that the last step ended with
-- ARGV[5]  most pending entries to look at
-- ARGV[6]  most deliveries to take
-- ARGV[7]  prefix of the queue's keys
-- ARGV[8]  whose deliveries to look at; an empty string for everybody's
-- ARGV[9…] entries not to take: the consumer runs them
--
-- Returns where to go on (an empty string after the last one), how many entries
-- were missing, then each delivery taken as {entry, delivery count, fields, 1 when it is
-- cancelled else 0}.
-- A missing entry was deleted by somebody else; it is acknowledged and counted, and audit_live.lua is
-- asked to look for its job: nobody will settle that.
-- include tell
-- include lane
-- include marks
-- include cancelled
-- include audits
local stream, stats, meta = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, lease, start = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local page, want = tonumber(ARGV[5]), tonumber(ARGV[6])
local base, whose = ARGV[7], ARGV[8]
local name, marked = lane_name(base, stream), any_cancelled(base)

local running = {}
for at = 9, #ARGV do running[ARGV[at]] = true end

-- Of one consumer Redis itself looks for the expired ones: its list is short.
local pending = whose == '' and redis.call('XPENDING', stream, group, start, '+', page)
  or redis.call('XPENDING', stream, group, 'IDLE', lease, start, '+', page, whose)
local taken, missing, last = {}, 0, ''
for _, row in ipairs(pending) do
  if #taken == want then break end
  local entry, idle, count = row[1], row[3], row[4]
  last = '(' .. entry
  if idle >= lease and not running[entry] then
    local claimed = redis.call('XCLAIM', stream, group, consumer, lease, entry)[1]
    if claimed then
      local is_over = marked and cancelled().has(base, name, entry)
      taken[#taken + 1] = { entry, count + 1, claimed[2], is_over and 1 or 0 }
    elseif #redis.call('XRANGE', stream, entry, entry) == 0 then
      redis.call('XACK', stream, group, entry)
      cancelled().unmark(base, name, entry)
      missing = missing + 1
    end
  end
end
if missing > 0 then
  redis.pcall('HINCRBY', stats, 'missing', missing)
  -- What was taken must be told whatever somebody put in the place of meta.
  if is_a(meta, 'hash') then ask_for_audit(meta, (string.gsub(name, ':front$', ''))) end
end
if #pending < page and #taken < want then last = '' end
return { last, missing, unpack(taken) }
