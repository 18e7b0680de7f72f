-- Clauses: what a job carries beside its fields. Nothing else reads a head or a guard.
--
-- In the head of an entry they stand behind six numbers, each as ":<letter>=<value>":
--   <version>:<generation>:<created (ms)>:<failures>:<deliveries>:<crashes>
--   r  1 once it has begun   a  when it began first (ms), where that is known
--   i  the hash of its idempotency key, always last
-- Those that this version does not know are a newer one's, and stay as they are.
--
-- The eighth field of a job has them joined by ";", each a letter and words:
--   i <hash>                      an idempotency key
--   t <hash> <window> <longest>   debounced (ms), the last of a storm runs after it
--   l <hash> <window> <longest>   debounced (ms), the first runs and the rest is dropped
-- These are guards: a job has one at most. A job with one that is not known is refused.

local function clauses()
  if made.clauses then return made.clauses end
  -- Returns what a head says; nil when it is none.
  local function read(head)
    local version, generation, created, failures, deliveries, crashes, rest =
      string.match(head or '', '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)(.*)$')
    if not version then return nil end
    return { version = version, generation = generation, created = created, failures = failures,
      deliveries = deliveries, crashes = crashes, rest = rest }
  end

  local function head_of(said)
    return table.concat({ said.version, said.generation, said.created, said.failures,
      said.deliveries, said.crashes }, ':') .. said.rest
  end

  -- Returns the head of a new job. Both numbers are texts: Lua takes longer for a time than
  -- Redis for a field, and would write a generation of 15 digits rounded.
  local function new_head(generation, created, guard)
    local key = guard and guard.kind == 'i' and ':i=' .. guard.hash or ''
    return '1:' .. generation .. ':' .. created .. ':0:0:0' .. key
  end

  -- Returns the value of one of the clauses of a head, nil when there is none.
  local function value(rest, letter) return string.match(rest .. ':', ':' .. letter .. '=([^:]*):') end

  -- The job has begun: it does not expire any more. started is when it did first (ms, a text),
  -- '1' where nobody knows that.
  local function begin(said, started)
    local rest = string.gsub(said.rest, ':a=[^:]*', '')
    if value(rest, 'r') ~= '1' then rest = ':r=1' .. rest end
    -- A worker knows Redis' clock to some ms. An earlier time would be taken for that of a run
    -- before a replay.
    local is_early = tonumber(started) < tonumber(said.created)
    said.rest = (started == '1' and '' or ':a=' .. (is_early and said.created or started)) .. rest
  end

  -- Returns when the job began first (ms), nil where that is not known.
  local function first_start(said)
    local found = value(said.rest, 'r') == '1' and value(said.rest, 'a') or ''
    found = #found <= 15 and string.find(found, '^%d+$') and tonumber(found)
    return found and found >= tonumber(said.created) and found or nil
  end

  -- This delivery, of which so many were made, is a delivery and no crash.
  local function recount(said, delivered)
    said.deliveries, said.crashes = said.deliveries + delivered, said.crashes + delivered - 1
  end

  -- The hash of the idempotency key in a head, nil when it has none.
  local function idempotency_of(head)
    local said = read(head)
    return said and value(said.rest, 'i')
  end

  -- Returns the options in the fields of an entry.
  local function options_in(fields) return fields[9] == 'options' and fields[10] or nil end

  local function guard_of(clause)
    local kind, hash, times = string.match(clause, '^([itl]) ([^ ;]+)(.*)$')
    local window, longest = string.match(times or '', '^ (%d+) (%d+)$')
    if not kind or (kind == 'i') ~= (times == '') or (kind ~= 'i' and not window) then return nil end
    return { kind = kind, hash = hash, window = tonumber(window), longest = tonumber(longest) }
  end

  -- Returns the guard in a job's field; nil and the first clause that is not known, or one
  -- guard too many.
  local function guard_in(field)
    -- Most have one.
    local guard = guard_of(field)
    if guard then return guard end
    for clause in string.gmatch(field, '[^;]+') do
      local found = guard_of(clause)
      if guard or not found then return nil, clause end
      guard = found
    end
    return guard
  end

  made.clauses = {
    read = read, head_of = head_of, new_head = new_head, value = value, begin = begin,
    first_start = first_start, recount = recount, idempotency_of = idempotency_of,
    guard_in = guard_in, options_in = options_in,
  }
  return made.clauses
end
