-- How entries that are done leave their stream together. Needs older.

-- Each XDEL looks for its entry from the start of a block of up to 100 entries. XTRIM drops whole
-- blocks, but takes all that is older than some entry. So it is used where every entry that was
-- delivered is still pending: of those only the ones just acknowledged are then older than the
-- oldest that is left. Redis tells by its counts, from 7.0 on; where somebody has deleted,
-- skipped or acknowledged entries by hand, they do not add up. Should they do so by chance, as many
-- pending entries as others were deleted: no entry was since the oldest that is pending.
local MANY = 8

-- Returns an answer of XINFO by its names; none where Redis refuses it.
local function by_name(reply)
  local facts = {}
  for at = 1, #reply, 2 do facts[reply[at]] = reply[at + 1] end
  return facts
end

-- Returns what Redis says of the groups of a stream, each by its names.
local function groups_of(stream)
  local groups = {}
  for number, group in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do groups[number] = by_name(group) end
  return groups
end

-- Returns the id behind an entry's; nil where Lua cannot count so far.
local function id_behind(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return #seq <= 15 and ms .. '-' .. string.format('%.0f', seq + 1) or nil
end

-- Returns the oldest entry that the group has not done with, nil where there is none; false where
-- Redis refuses to say.
local function oldest_pending(stream, group)
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1)
  if pending.err then return false end
  return pending[1] and pending[1][1]
end

-- Returns the oldest entry that is left of those that the group was given, or else where the next
-- one can be.
local function oldest_left(stream, group)
  local oldest = oldest_pending(stream, group.name)
  if oldest == nil then return id_behind(group['last-delivered-id']) end
  return oldest
end

-- Whether every entry that the group was given is pending.
local function all_are_pending(stream, group)
  local oldest, waiting = oldest_pending(stream, group.name), group.lag
  if not oldest or not waiting or redis.pcall('XLEN', stream) ~= group.pending + waiting then return false end
  local deleted = by_name(redis.pcall('XINFO', 'STREAM', stream))['max-deleted-entry-id']
  return deleted ~= nil and is_older(deleted, oldest)
end

-- Returns the group of a stream where all that it was given is pending, else nil.
local function whole_group(stream, name)
  for _, group in ipairs(groups_of(stream)) do
    if group.name == name then return all_are_pending(stream, group) and group or nil end
  end
end

-- When the entry that a group was given last is deleted while an older one runs, Redis 7 does
-- not know any more how many wait behind it: its lag is NULL until the next delivery. Since
-- nobody deletes what waits, Redis may forget instead that anything was deleted. Called behind
-- all that must be written: none of it is an error.
local function keep_lag(stream, deleted)
  if redis.pcall('XLEN', stream) == 0 then return end
  local is_deleted = {}
  for _, entry in ipairs(deleted) do is_deleted[entry] = true end
  for _, group in ipairs(groups_of(stream)) do
    if group.lag ~= nil and is_deleted[group['last-delivered-id']] then
      local facts = by_name(redis.pcall('XINFO', 'STREAM', stream))
      redis.pcall('XSETID', stream, facts['last-generated-id'] or '', 'ENTRIESADDED',
        facts['entries-added'] or '', 'MAXDELETEDID', '0-1')
    end
  end
end

-- Acknowledges entries and deletes them. XACK is first: it is allowed under maxmemory, and what
-- follows it then is too. Returns those for which keep_lag is to be called.
local function leave(stream, name, entries)
  local group = #entries >= MANY and whole_group(stream, name)
  redis.call('XACK', stream, name, unpack(entries))
  local oldest = group and oldest_left(stream, group)
  -- Where XTRIM may not be called, XDEL does it alone.
  if oldest and redis.pcall('XTRIM', stream, 'MINID', oldest) == #entries then return {} end
  redis.call('XDEL', stream, unpack(entries))
  return entries
end
