-- What a consumer holds, looked up for many of its entries at once: asking for each of them is
-- most of what the fence costs. Needs fence.

-- Fewer are cheaper to ask for one by one.
local FEW = 4
local seen = {}

-- Returns deliveries (tables with stream, group and entry) by stream and group.
local function by_group(deliveries)
  local shares, known = {}, {}
  for _, delivery in ipairs(deliveries) do
    local name = delivery.stream .. ' ' .. delivery.group
    local share = known[name]
    if not share then
      share = { stream = delivery.stream, group = delivery.group, entries = {} }
      shares[#shares + 1], known[name] = share, share
    end
    share.entries[#share.entries + 1] = delivery.entry
  end
  return shares
end

-- The first and the last millisecond of some entries.
local function span(entries)
  local first, last = math.huge, 0
  for _, entry in ipairs(entries) do
    local ms = tonumber(string.match(entry, '^%d+'))
    first, last = math.min(first, ms), math.max(last, ms)
  end
  return string.format('%.0f', first), string.format('%.0f', last)
end

-- Remembers which of them, and of what lies between them, the consumer holds. Not all, where
-- it holds far more: one answer is never much longer than what is asked for.
local function look_up(shares, consumer)
  for _, share in ipairs(shares) do
    if #share.entries >= FEW then
      local first, last = span(share.entries)
      local rows = redis.pcall('XPENDING', share.stream, share.group, first, last,
        2 * #share.entries, consumer)
      local found = {}
      for _, row in ipairs(rows.err and {} or rows) do found[row[1]] = row[4] end
      seen[share.stream .. ' ' .. share.group] = found
    end
  end
end

-- As owns. What was not seen to be so is asked for by itself.
local function holds(stream, group, entry, consumer, count)
  local found = seen[stream .. ' ' .. group]
  return found and found[entry] == tonumber(count)
    or owns(stream, group, entry, consumer, count)
end
