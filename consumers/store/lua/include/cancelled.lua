-- Entries that are cancelled and still lie in their stream: "<stream> <entry>" in the set
-- `cancelled` when nobody had them, in `cancelling` when somebody did. A waiting entry is
-- never deleted; whoever gets a marked one can only cancel it.

-- Whether any entry of the queue is marked at all.
local function any_cancelled(base)
  for _, set in ipairs({ 'cancelled', 'cancelling' }) do
    local count = redis.pcall('SCARD', base .. set)
    if type(count) == 'number' and count > 0 then return true end
  end
  return false
end

local function cancelled()
  if made.cancelled then return made.cancelled end
  local function is_marked(set, name, entry)
    return redis.pcall('SISMEMBER', set, name .. ' ' .. entry) == 1
  end

  local function has(base, name, entry)
    return is_marked(base .. 'cancelled', name, entry) or is_marked(base .. 'cancelling', name, entry)
  end

  local function unmark(base, name, entry)
    local mark = name .. ' ' .. entry
    redis.pcall('SREM', base .. 'cancelled', mark)
    redis.pcall('SREM', base .. 'cancelling', mark)
  end

  made.cancelled = {
    has = has, unmark = unmark,
  }
  return made.cancelled
end
