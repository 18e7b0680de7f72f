-- Renew the leases of deliveries that are still ours.
--
-- KEYS     the streams of the deliveries
-- ARGV[1]  the consumer
-- ARGV[2]  prefix of the queue's keys
-- ARGV[3…] four a delivery: index of its stream, group, entry, delivery count
--
-- Returns one character a delivery: 1 renewed, 0 not ours any more, C renewed and cancelled.
-- include fence
-- include marks
-- include cancelled
local consumer, base, flags = ARGV[1], ARGV[2], {}
local marked = any_cancelled(base)
for at = 3, #ARGV, 4 do
  local stream, group, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local ours = owns(stream, group, entry, consumer, ARGV[at + 3])
  -- JUSTID resets the idle time and leaves the delivery count alone.
  if ours then redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID') end
  local is_over = marked and cancelled().has(base, string.sub(stream, #base + 6), entry)
  flags[#flags + 1] = not ours and '0' or is_over and 'C' or '1'
end
return table.concat(flags)
