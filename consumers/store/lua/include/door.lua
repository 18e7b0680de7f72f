-- The one door for batches (G4): a batch whose reply was lost is applied once.

-- Returns the answer of this very batch when it was applied before, nil when it
-- is new, and an error when the writer has sent a newer one since.
local function remembered(door, number, digest)
  if number == '0' then return nil end
  local seen = redis.call('HMGET', door, 'number', 'digest', 'answer')
  if not seen[1] or tonumber(number) > tonumber(seen[1]) then return nil end
  if number == seen[1] and digest == seen[2] then return seen[3] end
  return redis.error_reply('WRITERREFUSED batch ' .. number .. ' comes after ' .. seen[1])
end

-- Ten idle minutes are longer than any writer repeats a batch. Where memory is
-- full and the batch wrote nothing, this is refused too: a repeat finds the same.
local function remember(door, number, digest, answer)
  if number == '0' then return end
  local written = redis.pcall('HSET', door, 'number', number, 'digest', digest, 'answer', answer)
  if type(written) == "table" and written.err then return end
  redis.call('PEXPIRE', door, 600000)
end
