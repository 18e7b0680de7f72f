-- See which commands this user may not run, without changing anything but a key that is for this.
--
-- KEYS[1]  a key that does not exist; what somebody else put there is deleted
-- ARGV[1]  a channel like those of results, on which nobody listens
-- ARGV[2…] commands, with a subcommand after a space where there is one
--
-- Returns the refused ones. Each command is called with too little to do, or on
-- a key that does not exist, so that nothing is written whatever the rights.
-- include denied
local key, channel = KEYS[1], ARGV[1]
local harmless = {
  DEL = { key }, EXISTS = { key }, GET = { key }, HDEL = { key, 'f' }, HEXISTS = { key, 'f' }, HGET = { key, 'f' },
  HGETALL = { key }, HINCRBY = { key, 'f', 'x' }, HLEN = { key }, HMGET = { key, 'f' },
  HSET = { key, 'f', 'v', 'f' }, LLEN = { key }, LTRIM = { key, 0, 0 }, PEXPIRE = { key, 1 }, PUBLISH = { key, '' },
  PTTL = { key }, RPUSH = { key, 'v' }, SADD = { key, 'm' }, SCARD = { key },
  SISMEMBER = { key, 'm' }, SMISMEMBER = { key, 'm' }, SREM = { key, 'm' }, SET = { key, 'v', 'XX' }, TIME = {}, TYPE = { key },
  XACK = { key, 'g', '0-0' }, XADD = { key, 'NOMKSTREAM', '*', 'f', 'v' },
  XCLAIM = { key, 'g', 'c', '0', '0-0' }, XDEL = { key, '0-0' }, XLEN = { key },
  XPENDING = { key, 'g' }, XRANGE = { key, '-', '+' }, XSETID = { key, '0-0' },
  ['XGROUP CREATE'] = { 'CREATE', key, 'g', '0' },
  ['XGROUP DELCONSUMER'] = { 'DELCONSUMER', key, 'g', 'c' },
  ['XINFO CONSUMERS'] = { 'CONSUMERS', key, 'g' }, ['XINFO GROUPS'] = { 'GROUPS', key },
  ['XINFO STREAM'] = { 'STREAM', key },
  ZADD = { key, 'XX', 0, 'm' }, ZCARD = { key }, ZRANGE = { key, 0, 0 }, ZREM = { key, 'm' },
  ZRANGEBYSCORE = { key, 0, 0 }, ZREMRANGEBYSCORE = { key, 0, 0 }, ZSCORE = { key, 'm' },
}

-- RPUSH and SADD have no form that does nothing: they are tried only where DEL undoes it.
local adding = { RPUSH = true, SADD = true }
local undoable = not is_denied(redis.pcall('DEL', key))
local refused = {}

local function is_refused(command)
  if is_denied(redis.pcall(string.match(command, '^%u+'), unpack(harmless[command]))) then return true end
  -- Each channel has a right of its own.
  return command == 'PUBLISH' and is_denied(redis.pcall('PUBLISH', channel, ''))
end

for at = 2, #ARGV do
  local command = ARGV[at]
  if not adding[command] or undoable then
    if is_refused(command) then refused[#refused + 1] = command end
    if adding[command] then redis.pcall('DEL', key) end
  end
end
return refused
