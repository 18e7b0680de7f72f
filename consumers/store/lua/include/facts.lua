-- What is kept of a run beside how it ended, behind the state in the kept end:
--   <run> <state>;<layout>,<worker>,<finished (ms)>,<created (ms)>,<starts>,<event><more> <value>
-- starts is empty for a run that never began, "<first>" for one that began once, and else
-- "<first>/<last>/<attempts>"; both are ms from its creation, empty where nobody knows them.
-- more has parts: a byte 30, a letter, and a text with a byte 31 for each space, which JSON
-- holds nowhere: t the type of its last error, e its last errors (JSON), d its data (JSON).
-- A reader passes over letters and layouts that it does not know. jobs/run_facts.py reads it.
-- What stands behind the comma of finished is told by the worker; empty where nothing is kept.
-- Needs clock.

-- Returns what stands before that, for runs that end now.
local function facts_now(worker)
  return ';1,' .. worker .. ',' .. string.format('%.0f', now_ms()) .. ','
end
