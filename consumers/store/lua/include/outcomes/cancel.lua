-- A delivery ends without a result, and not as a failure.
--
-- ARGV  reason

function outcomes.cancel()
  local it = { step = function() return 1 end }

  function it.refusal() end

  function it.write(delivery, at)
    take(delivery)
    ending().record(base, delivery, 'cancelled', ARGV[at], kept, delivery.told)
    count('cancelled', 1)
  end

  -- A cancelled entry can only end so, whatever was asked.
  function it.over(delivery)
    local told = delivery.told
    if told ~= '' then told = told_of_cancelled(told, fields_of(delivery)) end
    take(delivery)
    cancelled().unmark(base, lane_name(base, delivery.stream), delivery.entry)
    if ending().is_listed(delivery) then
      ending().record(base, delivery, 'cancelled', 'cancelled', kept, told)
    else
      ending().pass_over(base, delivery, kept)
    end
    return 'C'
  end

  return it
end
