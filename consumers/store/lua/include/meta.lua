-- The queue's properties.

local LAYOUT = '1'

-- Whether the queue has an epoch, once that was seen.
local has_epoch

-- Returns the queue's last generation. Errors when a version that laid out the
-- keys differently owns the queue, or when somebody spoiled the generation.
local function last_generation(meta)
  local found = redis.call('HMGET', meta, 'layout', 'generation', 'epoch')
  if found[1] and found[1] ~= LAYOUT then
    return nil, redis.error_reply('LAYOUT ' .. found[1] .. ' ' .. LAYOUT)
  end
  has_epoch = found[3] and true
  local generation = string.match(found[2] or '0', '^%d+$')
  if not generation or #generation > 15 then
    return nil, redis.error_reply('ERR ' .. meta .. ' holds a generation that is not a number')
  end
  return tonumber(generation)
end

-- The first to write a queue's keys gives it an epoch. Seconds since 1970 grow
-- even when Redis lost everything, so that fences keep growing (job.fence). A repair raises the
-- epoch as well; when the queue began (ms) is changed by nothing but the loss of its data.
local function name_epoch(meta, now)
  if has_epoch == nil then has_epoch = redis.call('HEXISTS', meta, 'epoch') == 1 end
  if not has_epoch then
    has_epoch = true
    redis.call('HSET', meta, 'layout', LAYOUT, 'epoch', math.floor(now / 1000), 'began', now)
  end
end
