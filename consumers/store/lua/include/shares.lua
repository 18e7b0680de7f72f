-- The deliveries of a batch by stream and group: what those of a share have in common is
-- asked and done once. Needs fence.

local shares, share_by_stream = {}, {}

-- A share holds its entries, what the consumer was seen to hold (entry -> delivery count), and
-- which entries this batch took.
local function share_of(stream, group)
  local groups = share_by_stream[stream]
  if not groups then
    groups = {}
    share_by_stream[stream] = groups
  end
  local share = groups[group]
  if not share then
    share = { stream = stream, group = group, entries = {}, seen = {}, taken = {}, is_taken = {} }
    groups[group], shares[#shares + 1] = share, share
  end
  return share
end

-- Sees which entries of each share, and of what lies between them, the consumer holds. Not all,
-- where it holds far more: one answer is never much longer than what is asked for. A few are
-- cheaper to ask for one by one.
local function look_up(consumer)
  local FEW = 4
  for _, share in ipairs(shares) do
    if #share.entries >= FEW then
      local first, last = math.huge, 0
      for _, entry in ipairs(share.entries) do
        local ms = tonumber(string.match(entry, '^%d+'))
        first, last = math.min(first, ms), math.max(last, ms)
      end
      local rows = redis.pcall('XPENDING', share.stream, share.group, string.format('%.0f', first),
        string.format('%.0f', last), 2 * #share.entries, consumer)
      for _, row in ipairs(rows.err and {} or rows) do share.seen[row[1]] = row[4] end
    end
  end
end

-- Whether the consumer holds this very delivery, and nothing in this batch took it. What was
-- not seen to be so is asked for by itself.
local function holds(share, entry, consumer, count)
  if share.is_taken[entry] then return false end
  return share.seen[entry] == tonumber(count)
    or owns(share.stream, share.group, entry, consumer, count)
end
