-- Whether Redis refused a command for want of rights.

-- How 6.2, 7.0 and later versions word it.
local wordings = { "can't run this command", "can't access at least one", "can't publish",
  'ACL failure', 'NOPERM', 'no permissions' }

local function is_denied(reply)
  local err = type(reply) == 'table' and reply.err
  if not err then return false end
  for _, wording in ipairs(wordings) do
    if string.find(err, wording, 1, true) then return true end
  end
  return false
end
