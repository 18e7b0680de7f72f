-- The one door for batches (G4): a batch whose reply was lost is applied once. Its key holds
-- "<number> <digest> <answer>" of the writer's last batch.

-- Returns the answer of this very batch when it was applied before, nil when it
-- is new, and an error when the writer has sent a newer one since.
local function remembered(door, number, digest)
  if number == '0' then return nil end
  local seen = redis.call('GET', door)
  if not seen then return nil end
  local last, its_digest, answer = string.match(seen, '^(%d+) (%S*) (.*)$')
  if not last then return redis.error_reply('WRONGTYPE ' .. door .. ' holds no batch') end
  if tonumber(number) > tonumber(last) then return nil end
  if number == last and digest == its_digest then return answer end
  return redis.error_reply('WRITERREFUSED batch ' .. number .. ' comes after ' .. last)
end

-- Ten idle minutes are longer than any writer repeats a batch. Where memory is
-- full and the batch wrote nothing, this is refused too: a repeat finds the same.
local function remember(door, number, digest, answer)
  if number == '0' then return end
  redis.pcall('SET', door, number .. ' ' .. digest .. ' ' .. answer, 'PX', '600000')
end
