-- Who has an entry. Returns the consumer and how often the entry was delivered to it; an
-- empty string and 0 when nobody has it. The one group of a stream is that of its jobs' type.
local function holder(stream, entry)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  local group = not groups.err and groups[1] or {}
  for at = 1, #group, 2 do
    if group[at] == 'name' then
      local row = redis.call('XPENDING', stream, group[at + 1], entry, entry, 1)[1]
      return row and row[2] or '', row and row[4] or 0
    end
  end
  return '', 0
end
