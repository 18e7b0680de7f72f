-- The fence where no lease can be looked up: the last generation and delivery that wrote.

local function is_older(key, generation, delivery)
  local stored = redis.call('GET', key)
  local last_generation, last_delivery = string.match(stored or '', '^(%d+) (%d+)$')
  if not last_generation then return false end
  if last_generation ~= generation then return tonumber(generation) < tonumber(last_generation) end
  return tonumber(delivery) < tonumber(last_delivery)
end
