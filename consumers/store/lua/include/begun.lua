-- The counts in the head of an entry that goes back to a lane.

-- Returns a head that says that its job has begun: it does not expire any more. Its counts
-- do not, after a snooze, a release or a replay.
local function as_begun(head)
  if string.find(head, ':r=1', 1, true) then return head end
  return (string.gsub(head, '^%d+:%d+:%d+:%d+:%d+:%d+', '%0:r=1'))
end

-- Returns a head in which this delivery, of which so many were made, is a delivery and no
-- crash; nil when it is none.
local function recounted(head, delivered)
  local start, deliveries, crashes, rest =
    string.match(head or '', '^(%d+:%d+:%d+:%d+):(%d+):(%d+)(.*)$')
  if not start then return nil end
  return start .. ':' .. (deliveries + delivered) .. ':' .. (crashes + delivered - 1) .. rest
end
