-- The only way out of the index of live jobs. Full memory allows it.
local function unlist(bucket, id) redis.call('HDEL', bucket, id) end
