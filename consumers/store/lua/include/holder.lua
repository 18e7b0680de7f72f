-- Who has an entry. Needs lane.

-- Only the group through which jobs leave the lane counts: others, a monitor's for example, read
-- along and run nothing.
-- Returns the consumer, how often the entry was delivered to it, and how long ago (ms) that was
-- or its lease was renewed; an empty string and 0 when nobody has it, as where its group is lost.
local function holder(base, stream, entry)
  local _, group = lanes().of(base, stream)
  local row = redis.pcall('XPENDING', stream, group, entry, entry, 1)[1]
  if row then return row[2], row[4], row[3] end
  return '', 0, 0
end
