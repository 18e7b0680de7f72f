-- A delivery's job becomes a dead letter.
--
-- ARGV  reason
--       error
--       raw bytes of an entry that is not a job
--       last errors (JSON)

function outcomes.bury()
  local it = { step = function() return 4 end }

  function it.refusal() return letters().burial_refusal(base) end

  -- The facts of a letter: what went wrong, and the entry as it was.
  local function letter_of(delivery, at)
    local facts = { 'reason', ARGV[at], 'error', ARGV[at + 1], 'errors', ARGV[at + 3],
      'delivered', delivery.count }
    if ARGV[at + 2] ~= '' then
      facts[#facts + 1], facts[#facts + 2] = 'raw', ARGV[at + 2]
      return facts
    end
    local fields = fields_of(delivery)
    for field = 1, #fields, 2 do
      if fields[field] ~= 'errors' then
        facts[#facts + 1], facts[#facts + 2] = fields[field], fields[field + 1]
      end
    end
    return facts
  end

  function it.write(delivery, at)
    local facts, entry = letter_of(delivery, at), ''
    take(delivery)
    if most_dead > 0 then
      local lane = string.gsub(lane_name(base, delivery.stream), ':front$', '')
      entry = letters().add(base, delivery.id, lane, delivery.group, facts)
    end
    ending().record(base, delivery, 'dead', entry, kept, delivery.told)
    count('dead', 1)
  end

  return it
end
