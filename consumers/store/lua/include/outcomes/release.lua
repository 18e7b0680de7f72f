-- A delivery goes back to the front of a lane, for somebody else.
--
-- ARGV  index of the stream it goes to
--       1 when it was to run solo, else 0
--       when its handler was called first (ms), 1 where nobody knows that, 0 when it was not

function outcomes.release()
  local it = { step = function() return 3 end }

  -- A release is no crash: this delivery counts as a delivery only.
  function it.refusal(delivery, at)
    if not read_entry(delivery) then return 'M' end
    local target = KEYS[tonumber(ARGV[at])]
    return lanes().refusal(base, listed, target, most) or lanes().stream_refusal(target .. ':front')
  end

  function it.write(delivery, at)
    local target, fields = KEYS[tonumber(ARGV[at])], delivery.fields
    clauses().recount(delivery.said, delivery.count)
    if ARGV[at + 2] ~= '0' then clauses().begin(delivery.said, ARGV[at + 2]) end
    fields[2] = clauses().head_of(delivery.said)
    take(delivery)
    lanes().open(base, listed, target, delivery.group, clauses().options_in(fields))
    local current, solo = live().parse(delivery.pointer or '')
    local is_ours = not current or current == delivery.generation
    solo = math.max(0, (solo or 0) - ARGV[at + 1])
    local place = lane_name(base, target) .. ':front'
    assert(enter(target .. ':front', is_ours and delivery.bucket, delivery.id,
      live().pointer(delivery.generation, solo, place, ''), unpack(fields)))
    count('released', 1)
  end

  return it
end
