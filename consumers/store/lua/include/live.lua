-- The index of live jobs: id -> "<generation> <solo runs> <place> <entry>". The
-- place is a stream named as in `lanes`, with ":front" for a lane's front; or
-- delayed, debounced or retrying, and then in place of the entry stands the due time (ms).
-- Any other place is one of a newer version, which has the job: it is alive.

-- Returns the generation of a pointer; nil when broken.
local function generation_in(pointer) return string.match(pointer, '^(%d+) %d+ %S+ %S+$') end

local function live()
  if made.live then return made.live end
  -- Returns generation, solo runs, place and entry of a pointer; nil when broken.
  local function parse(pointer) return string.match(pointer, '^(%d+) (%d+) (%S+) (%S+)$') end

  local function pointer(generation, solo, place, entry)
    return generation .. ' ' .. solo .. ' ' .. place .. ' ' .. entry
  end

  local function is_put_off(place)
    return place == 'delayed' or place == 'retrying' or place == 'debounced'
  end

  -- Whether this version can tell what is at a place.
  local function is_known(place)
    local lane = string.gsub(place, ':front$', '')
    return is_put_off(place) or string.find(lane, '^[^:]+:[^:]+:%-?%d+$') ~= nil
  end

  -- Returns the generation of the job a pointer leads to, nil when nothing is there any
  -- more, or (unless that counts as well) only what cannot but end as cancelled: neither must
  -- swallow a job.
  local function living(base, id, pointer, cancelled_too)
    local generation, _, place, entry = parse(pointer)
    if not generation then return nil end
    if not is_known(place) then return generation end
    if is_put_off(place) then
      local kept = redis.pcall('HEXISTS', base .. 'delayed:envelopes', id)
      return kept == 1 and generation or nil
    end
    local found = redis.pcall('XRANGE', base .. 'lane:' .. place, entry, entry)
    if found.err or #found == 0 then return nil end
    if cancelled_too then return generation end
    local over = redis.pcall('SISMEMBER', base .. 'cancelling', place .. ' ' .. entry) == 1
    return not over and generation or nil
  end

  made.live = {
    parse = parse, pointer = pointer, is_put_off = is_put_off, is_known = is_known,
    living = living,
  }
  return made.live
end
