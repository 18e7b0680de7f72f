-- Entries that are cancelled and still lie in their stream, see marks.

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
