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
