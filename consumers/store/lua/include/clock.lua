-- The time of Redis, which is the same for the whole of a script.

local moment

local function now_ms()
  if not moment then
    local time = redis.call('TIME')
    moment = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return moment
end
