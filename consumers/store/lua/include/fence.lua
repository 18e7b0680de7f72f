-- The fence (G2): only the consumer that holds this very delivery may write.
-- A lost group or a foreign key is no delivery of anybody's.
local function owns(stream, group, entry, consumer, count)
  local pending = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  local row = not pending.err and pending[1]
  return row and row[2] == consumer and row[4] == tonumber(count)
end
