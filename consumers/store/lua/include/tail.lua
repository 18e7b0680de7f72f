-- How every script ends that adds, moves or ends jobs: pasted in once, behind all of that, as a
-- function would be made and called at every call of the script. Takes from the script: given, the
-- last generation that it gave, false if it gave none; counted, how often what has happened, by
-- name; meta and stats where there is something to write there. Needs clock and meta.

-- What follows from jobs that have entered or ended (who waits for a key, a limit or a step) comes
-- first here, and all of it together may cost so much in one script, however many they are: 256.
if given then
  -- As text: Redis takes longer to make one of a number.
  redis.call('HSET', meta, 'generation', string.format('%d', given))
  if not has_epoch then name_epoch(meta, now_ms()) end
end
-- A counter that is no number must not make a written batch an error; and only a counter of a
-- batch that wrote nothing else can be a first write, which full memory refuses.
for what, by in pairs(counted) do redis.pcall('HINCRBY', stats, what, string.format('%d', by)) end
