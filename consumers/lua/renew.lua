-- Renew the leases of deliveries that are still ours.
--
-- KEYS     the streams of the deliveries
-- ARGV[1]  the consumer
-- ARGV[2…] four a delivery: index of its stream, group, entry, delivery count
--
-- Returns one character a delivery: 1 renewed, 0 not ours any more.
-- include fence
local consumer, flags = ARGV[1], {}
for at = 2, #ARGV, 4 do
  local stream, group, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local ours = owns(stream, group, entry, consumer, ARGV[at + 3])
  -- JUSTID resets the idle time and leaves the delivery count alone.
  if ours then redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID') end
  flags[#flags + 1] = ours and '1' or '0'
end
return table.concat(flags)
