-- Who has an entry. Returns the consumer and how often the entry was delivered to it; an
-- empty string and 0 when nobody has it. A stream has one group, that of its jobs' type, and
-- perhaps some that others made.
local function holder(stream, entry)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, group in ipairs(groups.err and {} or groups) do
    for at = 1, #group, 2 do
      local row = group[at] == 'name'
        and redis.call('XPENDING', stream, group[at + 1], entry, entry, 1)[1]
      if row then return row[2], row[4] end
    end
  end
  return '', 0
end
