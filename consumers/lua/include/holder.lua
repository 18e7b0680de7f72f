-- Who has an entry. Needs lane.

-- The groups through which jobs leave a stream. Of a type's lane that is the one with the type's
-- name: others, a monitor's for example, read along and run nothing. Types share the lane of an
-- event, and its key does not tell which: there every group counts.
local function groups_of(base, stream)
  local name, own = lane_of(base, stream)
  if not string.find(name, '^event%.') then return { own } end
  local names, groups = {}, redis.pcall('XINFO', 'GROUPS', stream)
  for _, group in ipairs(groups.err and {} or groups) do
    for at = 1, #group, 2 do
      if group[at] == 'name' then names[#names + 1] = group[at + 1] end
    end
  end
  return names
end

-- Returns the consumer and how often the entry was delivered to it; an empty string and 0
-- when nobody has it, as where its group is lost.
local function holder(base, stream, entry)
  for _, group in ipairs(groups_of(base, stream)) do
    local row = redis.pcall('XPENDING', stream, group, entry, entry, 1)[1]
    if row then return row[2], row[4] end
  end
  return '', 0
end
