-- Processes that wait for a job's end: id -> the channels to tell, separated by spaces.
-- A message spares them the next look at the job. It is sent behind what ends the job, so one
-- that Redis refuses must not be an error: nothing of that could be taken back.

-- others_wait: for a later run of the id, so they are remembered.
local function tell_waiters(base, id, generation, state, value, others_wait)
  local channels = redis.call('HGET', base .. 'waiters', id)
  if not channels then return end
  if not others_wait then redis.call('HDEL', base .. 'waiters', id) end
  for channel in string.gmatch(channels, '%S+') do
    redis.pcall('PUBLISH', channel,
      base .. ' ' .. id .. ' ' .. generation .. ' ' .. state .. ' ' .. value)
  end
end
