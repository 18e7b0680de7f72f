-- Entries that are cancelled and still lie in their stream: "<stream> <entry>" in the set
-- `cancelled` when nobody had them, in `cancelling` when somebody did. A waiting entry is
-- never deleted; whoever gets a marked one can only cancel it.

local function marks_in(set)
  local count = redis.pcall('SCARD', set)
  return type(count) == 'number' and count > 0
end

local function is_marked(set, name, entry)
  return redis.pcall('SISMEMBER', set, name .. ' ' .. entry) == 1
end

-- Whether any entry of the queue is marked at all.
local function any_cancelled(base)
  return marks_in(base .. 'cancelled') or marks_in(base .. 'cancelling')
end

local function is_cancelled(base, name, entry)
  return is_marked(base .. 'cancelled', name, entry) or is_marked(base .. 'cancelling', name, entry)
end

local function unmark(base, name, entry)
  local mark = name .. ' ' .. entry
  redis.pcall('SREM', base .. 'cancelled', mark)
  redis.pcall('SREM', base .. 'cancelling', mark)
end
