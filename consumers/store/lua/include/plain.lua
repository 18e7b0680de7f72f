-- Completions without children, which ask nothing of any lane. Needs delivery, shares and ending.

local function can_be_plain(delivery)
  return delivery.plain and is_ours(delivery) and not must_be_cancelled(delivery) and find(delivery)
end

-- Those of a share leave together: XDEL looks for a stream's new first entry only once then.
local function complete_all(deliveries)
  for _, share in ipairs(shares) do
    if #share.plain > 0 then
      redis.call('XACK', share.stream, share.group, unpack(share.plain))
      redis.call('XDEL', share.stream, unpack(share.plain))
    end
  end
  local record = ending().record
  for _, delivery in ipairs(deliveries) do
    record(base, delivery, 'completed', ARGV[delivery.at], kept, told_of(delivery))
  end
  count('completed', #deliveries)
end
