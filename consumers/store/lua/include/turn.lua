-- Whose turn it is to look at what one worker looks at for all: that of the first to find the last
-- look old. "turn.<what>" in the queue's meta is when that was (ms). Needs clock.

-- Whether the last look at something (a word) is at least so many ms old. Of a value that is no
-- time, or lies ahead, nobody knows: then whoever asks looks.
local function is_turn(meta, what, every_ms)
  local last = tonumber(redis.call('HGET', meta, 'turn.' .. what) or '')
  local since = last and server_ms() - last
  return not (since and since >= 0 and since < every_ms)
end

-- Says that this caller looks now. Full memory, which cannot take that down, keeps nobody from
-- looking; and a queue that has lost its data is made anew by those who open it.
local function take_turn(meta, what)
  if redis.call('HEXISTS', meta, 'epoch') == 0 then return end
  redis.pcall('HSET', meta, 'turn.' .. what, server_ms())
end
