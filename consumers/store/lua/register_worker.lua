-- Write what a worker tells of itself into the list of those that read a queue.
-- Those that were silent for long are taken off it.
--
-- KEYS[1]  the queue's workers: "<last heartbeat (ms)> <what it tells>" by id
-- KEYS[2]  the queue's meta
-- ARGV[1]  the worker
-- ARGV[2]  what it tells (JSON)
-- ARGV[3]  how long a worker may be silent (ms); the list goes when all were silent for so long
-- ARGV[4]  how often one of them looks for the silent ones (ms)
--
-- Returns nothing. The time is that of Redis: machines' clocks differ.
-- Errors: WRONGTYPE; nothing is written then.
-- include clock
-- include turn
local workers, meta, most_silent = KEYS[1], KEYS[2], tonumber(ARGV[3])
local now = now_ms()
-- More are left to the next look: unpack takes some thousand.
local most_dropped = 1000

-- Adds those that were silent for long; of what somebody else wrote there nobody knows when.
local function add_silent(dropped)
  local found = redis.call('HGETALL', workers)
  for at = 1, #found, 2 do
    local seen = tonumber(string.match(found[at + 1], '^(%d+) ') or '')
    local is_silent = seen and math.abs(now - seen) > most_silent
    if is_silent and #dropped <= most_dropped then dropped[#dropped + 1] = found[at] end
  end
end

local dropped, looks = { 'no such field' }, is_turn(meta, 'workers', tonumber(ARGV[4]))
if looks then add_silent(dropped) end
-- Full memory refuses a first write that adds; this one never does.
redis.call('HDEL', workers, unpack(dropped))
if looks then take_turn(meta, 'workers') end
redis.call('HSET', workers, ARGV[1], string.format('%d %s', now, ARGV[2]))
redis.call('PEXPIRE', workers, most_silent)
