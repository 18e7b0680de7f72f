-- Tell which runs of jobs are live still, many at once.
--
-- KEYS[1]  the queue's meta; only the slot counts
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2…] three a run: live bucket, job id, run
--
-- Returns one character a run: 1 live, 0 not any more.
-- include live
local base, flags = ARGV[1], {}
for at = 2, #ARGV, 3 do
  local pointer = redis.call('HGET', base .. 'live:' .. ARGV[at], ARGV[at + 1])
  local generation = pointer and parse_pointer(pointer)
  flags[#flags + 1] = generation == ARGV[at + 2] and '1' or '0'
end
return table.concat(flags)
