-- How many entries wait behind what a group was given last, as Redis counts them. Needs lane.

-- When the entry that a group was given last is deleted while an older one runs, Redis 7 does
-- not know any more how many wait behind it: its lag is NULL until the next delivery. Since
-- nobody deletes what waits, Redis may forget instead that anything was deleted.
-- taken are the entries that were deleted just now.
local function keep_lag(stream, taken)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local last, counts_lag = nil, false
    for at = 1, #group, 2 do
      if group[at] == 'last-delivered-id' then last = group[at + 1] end
      counts_lag = counts_lag or group[at] == 'lag'
    end
    if counts_lag and taken[last] and redis.call('XLEN', stream) > 0 then
      local facts = lanes().facts(stream)
      redis.pcall('XSETID', stream, facts['last-generated-id'],
        'ENTRIESADDED', facts['entries-added'], 'MAXDELETEDID', '0-1')
    end
  end
end
