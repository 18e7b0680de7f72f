-- The one door for batches (G4): a batch whose reply was lost is applied once. Its key holds
-- "<number> <digest> <answer>" of the writer's last batch; one of number 0 is not remembered. What
-- the script has to answer goes through include/answer.lua. Takes from the script: door, number and
-- digest.

-- The answer of this very batch when it was applied before; an error when the writer has sent a
-- newer one since.
if number ~= '0' then
  local seen = redis.call('GET', door)
  local last = seen and string.match(seen, '^%d+')
  if seen and not last then return redis.error_reply('WRONGTYPE ' .. door .. ' holds no batch') end
  -- As texts: the answer behind it may be long, and is looked at only where it is needed.
  local is_newer = not last or #number > #last or #number == #last and number > last
  if not is_newer then
    local its_digest, answer = string.match(seen, '^%d+ (%S*) (.*)$')
    if number == last and digest == its_digest then return answer end
    return redis.error_reply('WRITERREFUSED batch ' .. number .. ' comes after ' .. last)
  end
end
