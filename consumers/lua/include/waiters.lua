-- Processes that wait for a job's end: id -> the channels to tell, separated by spaces.

-- others_wait: for a later run of the id, so they are remembered.
local function tell_waiters(base, id, generation, state, value, others_wait)
  local channels = redis.call('HGET', base .. 'waiters', id)
  if not channels then return end
  if not others_wait then redis.call('HDEL', base .. 'waiters', id) end
  for channel in string.gmatch(channels, '%S+') do
    redis.call('PUBLISH', channel,
      base .. ' ' .. id .. ' ' .. generation .. ' ' .. state .. ' ' .. value)
  end
end
