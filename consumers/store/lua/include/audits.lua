-- Audits that are asked for: "<next bucket> <lane>…" in meta, see audit_live.lua.

-- Asks for the jobs that went with a lane's stream, or with entries of it. Those of an audit under way are looked for
-- from the start as well.
local function ask_for_audit(meta, lane)
  local others = string.match(redis.call('HGET', meta, 'audit') or '', '^%d+( .+)$') or ''
  local name = ' ' .. lane
  if not string.find(others .. ' ', name .. ' ', 1, true) then others = others .. name end
  redis.call('HSET', meta, 'audit', '0' .. others)
end
