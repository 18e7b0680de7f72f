-- Bring dead letters back to their lanes, as new jobs with a new generation.
--
-- KEYS[1]  the writer's door
-- KEYS[2]  the queue's meta
-- KEYS[3]  the queue's lanes
-- KEYS[4]  the queue's counters
-- KEYS[5]  the dead letters, where the queue's properties name no other stream
-- KEYS[6]  the index of the dead letters
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  number of the batch
-- ARGV[3]  digest of the batch
-- ARGV[4]  most lanes
-- ARGV[5]  most lanes of single events
-- ARGV[6]  most bytes; the last letter may go beyond
-- ARGV[7…] two a job: its live bucket, its id
--
-- Returns one word a job, separated by spaces:
--   +<generation>  brought back   =<generation>  its id is live: the letter stays
--   -              no letter      X              a foreign entry, it is not a job
--   L              too many lanes T<key>         a foreign value is in the way
--   A              not looked at, the batch was large: ask again
-- The letter goes in the same step in which the job comes back.
-- Errors: WRITERREFUSED, LAYOUT, WRONGTYPE, a broken generation; nothing is
-- written then.
-- include clock
-- include meta
-- include enter
-- include live
-- include tell
-- include lane
-- include clauses
-- include delayed
-- include dead
-- include guard
local door, meta, listed, stats, dead_index = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local base, number, digest = ARGV[1], ARGV[2], ARGV[3]
local most = { lanes = tonumber(ARGV[4]), event_lanes = tonumber(ARGV[5]) }
local room = tonumber(ARGV[6])

-- include door
local generation, wrong_layout = last_generation(meta)
if wrong_layout then return wrong_layout end
redis.call('HGET', stats, 'replayed')
redis.call('ZCARD', listed)
local refusal = letters().refusal(base)
if refusal then return redis.error_reply('WRONGTYPE ' .. string.sub(refusal, 2)) end

-- Returns where a job goes back to and the fields of its entry, with fresh counts; nil
-- when the letter is of no job. Behind head stands the entry as it was buried.
local function revived(letter)
  local fields, facts, first = letter[2], {}, nil
  for at = 1, #fields, 2 do
    if fields[at] == 'head' and not first then first = at end
    if not first then facts[fields[at]] = fields[at + 1] end
  end
  if not first or facts.raw or fields[first + 2] ~= 'id' then return nil end
  local said = clauses().read(fields[first + 1])
  if not (said and string.find(facts.lane or '', '^[^:]+:[^:]+:%-?%d+$') and facts.group) then
    return nil
  end
  said.generation, said.created = string.format('%.0f', generation + 1), now_ms()
  said.failures, said.deliveries, said.crashes = 0, 0, 0
  -- As another run, of which no worker has measured anything yet.
  clauses().begin(said, '1')
  local entry = { 'head', clauses().head_of(said) }
  for at = first + 2, #fields do entry[#entry + 1] = fields[at] end
  return facts.lane, facts.group, entry
end

local replayed = 0

local function bring_back(bucket, id, letter, lane, group, fields)
  local stream = base .. 'lane:' .. lane
  generation, replayed = generation + 1, replayed + 1
  -- As text: joined to others Lua would write it rounded, once it has 15 digits.
  local number = string.format('%.0f', generation)
  room = room - letters().drop(base, letter[1], letter[2])
  lanes().open(base, listed, stream, group, clauses().options_in(fields))
  assert(enter(stream, bucket, id, live().pointer(number, 0, lane, ''), unpack(fields)))
  -- While it lives again its idempotency key must not run out.
  guards().keep(base, clauses().idempotency_of(fields[2]), bucket, id, number, now_ms())
  return '+' .. number
end

local function replay(bucket, id)
  local pointer = redis.pcall('HGET', bucket, id)
  if type(pointer) == 'table' then return 'T' .. bucket end
  local lives = pointer and live().living(base, id, pointer)
  if lives then return '=' .. lives end
  local entry = redis.call('HGET', dead_index, id)
  local letter = entry and redis.call('XRANGE', letters().stream(base), entry, entry)[1]
  if not letter then return '-' end
  local lane, group, fields = revived(letter)
  if not lane then return 'X' end
  local stream = base .. 'lane:' .. lane
  local why_not = lanes().refusal(base, listed, stream, most) or lanes().stream_refusal(stream)
  return why_not or bring_back(bucket, id, letter, lane, group, fields)
end

local words = {}
for at = 7, #ARGV, 2 do
  words[#words + 1] = room > 0 and replay(base .. 'live:' .. ARGV[at], ARGV[at + 1]) or 'A'
end

local given, counted = replayed > 0 and generation, { replayed = replayed > 0 and replayed or nil }
local answer = table.concat(words, ' ')
-- include tail
-- include answer
