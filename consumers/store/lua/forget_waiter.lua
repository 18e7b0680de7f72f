-- Take a process out of those that wait for a job's end: it has given up.
--
-- KEYS[1]  who waits for the ends of jobs
-- ARGV[1]  job id
-- ARGV[2]  the channel of the process
--
-- Returns 1 when it was taken out, 0 when it was not there.
-- Errors: WRONGTYPE; nothing is written then.
local waiters, id, channel = KEYS[1], ARGV[1], ARGV[2]
local others, found = {}, 0
for other in string.gmatch(redis.call('HGET', waiters, id) or '', '%S+') do
  if other == channel then found = 1 else others[#others + 1] = other end
end
if found == 0 then return 0 end
-- Full memory refuses a first write that adds; this one removes nothing. With its last field the
-- key would lose its time to live.
redis.call('HDEL', waiters, 'no such field')
if #others > 0 then
  redis.call('HSET', waiters, id, table.concat(others, ' '))
else
  redis.call('HDEL', waiters, id)
end
return 1
