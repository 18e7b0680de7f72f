-- Delete dead letters, the oldest first, some at a time.
--
-- KEYS[1]  the dead letters, where the queue's properties name no other stream
-- KEYS[2]  the index of the dead letters
-- KEYS[3]  the queue's counters
-- KEYS[4]  the queue's meta
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  only letters that are at least this old (ms)
-- ARGV[3]  most letters
-- ARGV[4]  most bytes; the last letter may go beyond
-- ARGV[5]  name of the counter that counts them
-- ARGV[6]  how old the last look must be (ms), 0 to look whoever has: of many workers one looks
--
-- Returns how many were deleted, and 1 when there may be more, else 0.
-- Errors: WRONGTYPE; nothing is written then.
-- include tell
-- include lane
-- include dead
-- include clock
-- include turn
-- Workers that keep letters for other times take turns among their like.
local in_turn, turn = ARGV[6] ~= '0', 'letters.' .. ARGV[2]
if in_turn and not is_turn(KEYS[4], turn, tonumber(ARGV[6])) then return { 0, 0 } end

local base, before = ARGV[1], server_ms() - tonumber(ARGV[2])
local refusal = letters().refusal(base)
if refusal then return redis.error_reply('WRONGTYPE ' .. string.sub(refusal, 2)) end

local function is_old(at) return at <= before end

local purged, more = letters().drop_while(base, is_old, tonumber(ARGV[3]), tonumber(ARGV[4]))
-- Last, because full memory allows to delete: as a first write it would be refused. Where there
-- is more, whoever comes next goes on.
if in_turn and not more then take_turn(KEYS[4], turn) end
if purged > 0 then redis.pcall('HINCRBY', KEYS[3], ARGV[5], purged) end
return { purged, more and 1 or 0 }
