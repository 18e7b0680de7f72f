-- Processes that wait for a job's end: id -> the channels to tell, separated by spaces.

local function tell_waiters(base, id, generation, state, value)
  local channels = redis.call('HGET', base .. 'waiters', id)
  if not channels then return end
  redis.call('HDEL', base .. 'waiters', id)
  for channel in string.gmatch(channels, '%S+') do
    redis.call('PUBLISH', channel,
      base .. ' ' .. id .. ' ' .. generation .. ' ' .. state .. ' ' .. value)
  end
end
