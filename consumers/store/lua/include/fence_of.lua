-- The fence where no lease can be looked up: the last run and delivery that wrote.

local function is_older(key, run, delivery)
  local stored = redis.call('GET', key)
  local last_run, last_delivery = string.match(stored or '', '^(%d+) (%d+)$')
  if not last_run then return false end
  if last_run ~= run then return tonumber(run) < tonumber(last_run) end
  return tonumber(delivery) < tonumber(last_delivery)
end
