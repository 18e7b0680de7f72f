-- The index of live jobs: id -> "<generation> <solo runs> <stream> <entry>",
-- the stream named as in `lanes`, with ":front" for a lane's front.

-- Returns generation, solo runs, stream and entry of a pointer; nil when broken.
local function parse_pointer(pointer)
  return string.match(pointer, '^(%d+) (%d+) (%S+) (%S+)$')
end

local function pointer_to(generation, solo, stream, entry)
  return generation .. ' ' .. solo .. ' ' .. stream .. ' ' .. entry
end

-- Returns the generation of the job a pointer leads to, nil when nothing is
-- there any more: a stale pointer must never swallow a job.
local function living(base, pointer)
  local generation, _, stream, entry = parse_pointer(pointer)
  if not generation then return nil end
  local found = redis.pcall('XRANGE', base .. 'lane:' .. stream, entry, entry)
  if found.err or #found == 0 then return nil end
  return generation
end
