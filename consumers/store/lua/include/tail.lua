-- How every script ends that adds, moves or ends jobs: once, behind all of them. Needs meta and
-- door.

-- What follows from jobs may cost so much in one script, however many they are.
local BUDGET = 256

-- done is what the script has written: the last generation that it gave, if it gave one, and
-- began, the time, if the queue may be a new one; counts by name; and the batch of a writer with
-- its answer, which is returned. What is to follow from jobs that have entered or ended (who waits
-- for a key, a limit or a step) comes first here, and all of it together costs at most budget.
-- A counter that is no number must not make a written batch an error; and only a counter of a
-- batch that wrote nothing else can be a first write, which full memory refuses.
local function finish(done, budget)
  if done.generation then redis.call('HSET', done.meta, 'generation', done.generation) end
  if done.began then name_epoch(done.meta, done.began) end
  for what, by in pairs(done.counts) do redis.pcall('HINCRBY', done.stats, what, by) end
  if done.door then remember(done.door, done.number, done.digest, done.answer) end
  return done.answer
end
