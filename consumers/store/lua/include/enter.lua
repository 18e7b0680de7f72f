-- The only way into a lane.

-- Adds an entry with these fields to the stream of a lane, or of its front, and lets the index
-- lead to it: pointer is that of the job up to the entry. Without a bucket its place in the index
-- is another's. Returns the entry; nil and why, when nothing was written.
local function enter(stream, bucket, id, pointer, ...)
  local entry = redis.pcall('XADD', stream, '*', ...)
  if type(entry) == 'table' then return nil, entry.err end
  if bucket then redis.call('HSET', bucket, id, pointer .. entry) end
  return entry
end
