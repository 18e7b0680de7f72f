-- The time, which is the same for the whole of a script. Nothing else reads it.

-- That of the server, with which entry ids and idle times are compared: it gives them.
local moment
local function server_ms()
  if not moment then
    local time = redis.call('TIME')
    moment = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return moment
end

-- That of the queue, for all that is due, expires or was seen at some time.
local function now_ms() return {{now}} end
