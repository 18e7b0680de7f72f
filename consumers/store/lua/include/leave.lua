-- How entries that are done leave their stream together.

-- Each XDEL looks for its entry from the start of a block of up to 100 entries. XTRIM drops whole
-- blocks, but takes all that is older than some entry. So it is used where every entry that was
-- delivered is still pending: of those only the ones just acknowledged are then older than the
-- oldest that is left. Redis tells by its counts, from 7.0 on; where somebody has deleted,
-- skipped or acknowledged entries by hand, they do not add up.
local MANY = 8

-- Returns what Redis says of the groups of a stream, each by the names it gives.
local function groups_of(stream)
  local groups = redis.call('XINFO', 'GROUPS', stream)
  for number, group in ipairs(groups) do
    local facts = {}
    for at = 1, #group, 2 do facts[group[at]] = group[at + 1] end
    groups[number] = facts
  end
  return groups
end

-- Returns the entry up to which all that was delivered is done with, once those that leave now
-- are acknowledged; nil where the counts do not say so. Called before and after that.
local function all_are_pending(stream, name)
  for _, group in ipairs(groups_of(stream)) do
    if group.name == name then
      return group.lag and redis.call('XLEN', stream) - group.lag == group.pending
        and group['last-delivered-id']
    end
  end
end

-- Returns the id behind an entry's; nil where Lua cannot count so far.
local function id_behind(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return #seq <= 15 and ms .. '-' .. string.format('%.0f', seq + 1) or nil
end

-- Returns the oldest entry that is left, or else the first that could be.
local function oldest_left(stream, group, last)
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1)
  if pending[1] then return pending[1][1] end
  return not pending.err and id_behind(last)
end

-- When the entry that a group was given last is deleted while an older one runs, Redis 7 does
-- not know any more how many wait behind it: its lag is NULL until the next delivery. Since
-- nobody deletes what waits, Redis may forget instead that anything was deleted.
local function keep_lag(stream, deleted)
  if redis.call('XLEN', stream) == 0 then return end
  local is_deleted = {}
  for _, entry in ipairs(deleted) do is_deleted[entry] = true end
  for _, group in ipairs(groups_of(stream)) do
    if group.lag ~= nil and is_deleted[group['last-delivered-id']] then
      local facts, reply = {}, redis.call('XINFO', 'STREAM', stream)
      for at = 1, #reply, 2 do facts[reply[at]] = reply[at + 1] end
      redis.pcall('XSETID', stream, facts['last-generated-id'],
        'ENTRIESADDED', facts['entries-added'], 'MAXDELETEDID', '0-1')
    end
  end
end

-- Acknowledges entries and deletes them. XACK is first: it is allowed under maxmemory, and what
-- follows it then is too.
local function leave(stream, group, entries)
  local last = #entries >= MANY and all_are_pending(stream, group)
  redis.call('XACK', stream, group, unpack(entries))
  local oldest = last and oldest_left(stream, group, last)
  -- Where XTRIM may not be called, XDEL does it alone.
  if oldest and redis.pcall('XTRIM', stream, 'MINID', oldest) == #entries then return end
  redis.call('XDEL', stream, unpack(entries))
  keep_lag(stream, entries)
end
