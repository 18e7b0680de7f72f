-- Take back that an id ran, if it was this run of it.
--
-- KEYS[1]  the id's last completed run
-- ARGV[1]  the run's generation
--
-- Returns 1 when it was taken back, 0 when another run or none is written there.
-- Errors: WRONGTYPE.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
