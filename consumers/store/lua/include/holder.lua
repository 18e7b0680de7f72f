-- Who has an entry. Needs lane.

-- Only the group through which jobs leave the lane counts: others, a monitor's for example, read
-- along and run nothing.
-- Returns the consumer and how often the entry was delivered to it; an empty string and 0
-- when nobody has it, as where its group is lost.
local function holder(base, stream, entry)
  local _, group = lanes().of(base, stream)
  local row = redis.pcall('XPENDING', stream, group, entry, entry, 1)[1]
  if row then return row[2], row[4] end
  return '', 0
end
