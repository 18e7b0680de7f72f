-- Remove consumers that hold nothing and have not been seen for a while.
--
-- KEYS[1]  the stream
-- ARGV[1]  group
-- ARGV[2]  how long they must not have been seen (ms)
--
-- Returns how many were removed. Looking and removing are one step: a consumer
-- that is removed with pending entries makes them undeliverable for ever.
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for at = 1, #consumer, 2 do facts[consumer[at]] = consumer[at + 1] end
  if facts.pending == 0 and facts.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts.name)
    forgotten = forgotten + 1
  end
end
return forgotten
