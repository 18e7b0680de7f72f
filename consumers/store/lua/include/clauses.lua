-- Clauses: what a job carries beside its fields. Nothing else reads a head or a guard.
--
-- In the head of an entry they stand behind six numbers, each as ":<letter>=<value>":
--   <version>:<generation>:<created (ms)>:<failures>:<deliveries>:<crashes>
--   r  it has begun          i  the hash of its idempotency key, always last
-- Those that this version does not know are a newer one's, and stay as they are.
--
-- The eighth field of a job has them joined by ";", each a letter and words:
--   i <hash>                      an idempotency key
--   t <hash> <window> <longest>   debounced (ms), the last of a storm runs after it
--   l <hash> <window> <longest>   debounced (ms), the first runs and the rest is dropped
-- These are guards: a job has one at most. A job with one that is not known is refused.

local function clauses()
  if made.clauses then return made.clauses end
  local it = {}

  -- Returns what a head says; nil when it is none.
  function it.read(head)
    local version, generation, created, failures, deliveries, crashes, rest =
      string.match(head or '', '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)(.*)$')
    if not version then return nil end
    return { version = version, generation = generation, created = created, failures = failures,
      deliveries = deliveries, crashes = crashes, rest = rest }
  end

  function it.head_of(said)
    return table.concat({ said.version, said.generation, said.created, said.failures,
      said.deliveries, said.crashes }, ':') .. said.rest
  end

  -- Returns the head of a new job. Both numbers are texts: Lua takes longer for a time than
  -- Redis for a field, and would write a generation of 15 digits rounded.
  function it.new_head(generation, created, guard)
    local key = guard and guard.kind == 'i' and ':i=' .. guard.hash or ''
    return '1:' .. generation .. ':' .. created .. ':0:0:0' .. key
  end

  -- Returns the value of one of the clauses of a head, nil when there is none.
  function it.value(rest, letter) return string.match(rest .. ':', ':' .. letter .. '=([^:]*):') end

  -- The job has begun: it does not expire any more. Its counts do not say that after a snooze, a
  -- release or a replay.
  function it.begin(said)
    if not it.value(said.rest, 'r') then said.rest = ':r=1' .. said.rest end
  end

  -- This delivery, of which so many were made, is a delivery and no crash.
  function it.recount(said, delivered)
    said.deliveries, said.crashes = said.deliveries + delivered, said.crashes + delivered - 1
  end

  -- The hash of the idempotency key in a head, nil when it has none.
  function it.idempotency_of(head)
    local said = it.read(head)
    return said and it.value(said.rest, 'i')
  end

  local function guard_of(clause)
    local kind, hash, times = string.match(clause, '^([itl]) ([^ ]+)(.*)$')
    local window, longest = string.match(times or '', '^ (%d+) (%d+)$')
    if not kind or (kind == 'i') ~= (times == '') or (kind ~= 'i' and not window) then return nil end
    return { kind = kind, hash = hash, window = tonumber(window), longest = tonumber(longest) }
  end

  -- Returns the guard in a job's field; nil and the first clause that is not known, or one
  -- guard too many.
  function it.guard_in(field)
    local guard
    for clause in string.gmatch(field, '[^;]+') do
      if guard or not guard_of(clause) then return nil, clause end
      guard = guard_of(clause)
    end
    return guard
  end

  made.clauses = it
  return it
end
