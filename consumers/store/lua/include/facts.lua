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
  return ';1,' .. worker .. ',' .. string.format('%d', now_ms()) .. ','
end

-- Returns the part with a field of the run's entry, empty where that is not there.
local function part_of(fields, letter, at, name)
  if fields[at] ~= name then return '' end
  return '\30' .. letter .. string.gsub(fields[at + 1], ' ', '\31')
end

local function errors_part(fields) return part_of(fields, 'e', 11, 'errors') end

-- Returns what is told of a run that was to go on, or to be a letter, and ends as cancelled: its
-- errors are those before it, and its data are kept where a part for them is told, empty or not.
local function told_of_cancelled(told, fields)
  local about, data = string.match(told, '^([^\30]*)'), string.find(told, '\30d', 1, true)
  return about .. errors_part(fields) .. (data and part_of(fields, 'd', 7, 'data') or '')
end
