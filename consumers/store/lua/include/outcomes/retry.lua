-- A delivery's job is run again, now or later.
--
-- ARGV  index of its lane's stream
--       when it is due: "+<ms>" from now
--       1 when an attempt is used up, else 0
--       its errors so far (JSON), empty to leave them as they are
--       when its handler was called first (ms), 1 where nobody knows that, 0 when it was not

function outcomes.retry()
  local it = { step = function() return 5 end }

  function it.refusal(delivery, at)
    if not read_entry(delivery) then return 'M' end
    local stream = KEYS[tonumber(ARGV[at])]
    return delayed().refusal(base) or lanes().refusal(base, listed, stream, most)
      or lanes().stream_refusal(stream)
  end

  -- The fields of the job's next entry.
  local function next_fields(delivery, at)
    local fields, said = delivery.fields, delivery.said
    clauses().recount(said, delivery.count)
    said.failures = said.failures + ARGV[at + 2]
    if ARGV[at + 4] ~= '0' then clauses().begin(said, ARGV[at + 4]) end
    fields[2] = clauses().head_of(said)
    if ARGV[at + 3] ~= '' then fields[11], fields[12] = 'errors', ARGV[at + 3] end
    return fields
  end

  function it.write(delivery, at)
    local stream, fields = KEYS[tonumber(ARGV[at])], next_fields(delivery, at)
    -- The job is out of its lane in a moment: nothing after that may be an error.
    local delay = math.max(0, tonumber(ARGV[at + 1]) or 0)
    local lane, bucket, id = lane_name(base, stream), delivery.bucket, delivery.id
    local now = now_ms()
    take(delivery)
    lanes().open(base, listed, stream, delivery.group, clauses().options_in(fields))
    local current = live().parse(delivery.pointer or '')
    -- Where the id was taken over this one is still owed its run, but has no place in the index.
    local is_ours = not current or current == delivery.generation
    if is_ours and delay > 0 then
      -- A millisecond more, because now was rounded down: never early.
      delayed().put_off(base, bucket, id, delivery.generation, lane, delivery.group, fields,
        now + delay + 1, 'retrying')
    else
      assert(enter(stream, is_ours and bucket, id, live().pointer(delivery.generation, 0, lane, ''),
        unpack(fields)))
    end
    count('retried', 1)
  end

  return it
end
