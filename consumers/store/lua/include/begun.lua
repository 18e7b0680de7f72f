-- Returns a head that says that its job has begun: it does not expire any more. Its counts
-- do not, after a snooze, a release or a replay.
local function as_begun(head)
  if string.find(head, ':r=1', 1, true) then return head end
  return (string.gsub(head, '^%d+:%d+:%d+:%d+:%d+:%d+', '%0:r=1'))
end
