-- Completions without children, which ask nothing of any lane: most batches hold nothing else.
-- So little is done for each; one that is not as they nearly always are is left to others.
-- Needs fence, leave and unlist, and others of the script.

local PLAIN_ARGUMENTS, PLAIN_FIELDS, FEW = 7, 5, 4
local live_buckets, results = base .. 'live:', base .. 'result:'

-- Returns which entries of a stream's group this batch has named so far.
local named_entries = {}
local function named_in(stream, group)
  local of_stream = named_entries[stream] or {}
  named_entries[stream], of_stream[group] = of_stream, of_stream[group] or {}
  return of_stream[group]
end

-- A section of the arguments: what its deliveries have in common, and their fields. entries, places
-- (in the fields) and pointers are those of the deliveries that were found to be plain.
local function plain_section(at)
  return {
    stream = KEYS[tonumber(ARGV[at + 1])], group = ARGV[at + 2], count = tonumber(ARGV[at + 3]),
    first = ARGV[at + 4], last = ARGV[at + 5], fields = cmsgpack.unpack(ARGV[at + 6]),
    entries = {}, places = {}, pointers = {},
  }
end

-- Returns what the consumer is seen to hold of a section and of what lies between. Not all, where
-- it holds far more: one answer is never much longer than what is asked for. A few are cheaper to
-- ask for one by one.
local function held_of(section)
  local number = #section.fields / PLAIN_FIELDS
  if number < FEW then return {} end
  local rows = redis.pcall('XPENDING', section.stream, section.group, section.first, section.last,
    2 * number, consumer)
  return rows.err and {} or rows
end

-- Returns a function that says whether the consumer holds a delivery of a section that no other
-- of this batch has named. named are those so far, by entry, nil where there is only this section:
-- its entries mostly come in the order of their ids, as Redis' do, and then nothing is looked up.
local function fence_of(section, named)
  local rows, row, counts = held_of(section), 0, nil
  return function(entry)
    if not named then
      row = row + 1
      local found = rows[row]
      if found and found[1] == entry and found[4] == section.count then return true end
      named = {}
      for _, earlier in ipairs(section.entries) do named[earlier] = true end
    end
    if not counts then
      counts = {}
      for _, found in ipairs(rows) do counts[found[1]] = found[4] end
    end
    if named[entry] then return false end
    named[entry] = true
    return counts[entry] == section.count or owns(section.stream, section.group, entry, consumer, section.count)
  end
end

-- Returns which deliveries of a section are marked as cancelled, by their number in it.
local function cancelled_in(section)
  local lane, marks, found = string.sub(section.stream, #base + 6), {}, {}
  for at = 1, #section.fields, PLAIN_FIELDS do marks[#marks + 1] = lane .. ' ' .. section.fields[at] end
  for _, set in ipairs({ 'cancelled', 'cancelling' }) do
    local are_marked = redis.pcall('SMISMEMBER', base .. set, unpack(marks))
    for number, is_marked in ipairs(are_marked.err and {} or are_marked) do
      found[number] = found[number] or is_marked == 1
    end
  end
  return found
end

-- Sees which deliveries of a section are plain, and gives those their words; the others are left
-- to others. Writes nothing.
local function look_at(section, named, words, leave_to_others)
  local fields, entries, places, pointers = section.fields, section.entries, section.places, section.pointers
  local is_held, are_cancelled, number = fence_of(section, named), marked and cancelled_in(section) or {}, 0
  for at = 1, #fields, PLAIN_FIELDS do
    local entry, pointer = fields[at], nil
    number = number + 1
    if not are_cancelled[number] and is_held(entry) then
      pointer = redis.pcall('HGET', live_buckets .. fields[at + 1], fields[at + 2])
    end
    if type(pointer) == 'string' then
      local place = #entries + 1
      entries[place], places[place], pointers[place] = entry, at, pointer
      words[#words + 1] = '1'
    else
      leave_to_others(others().plain_at(section, at))
    end
  end
end

-- Returns the processes that wait for jobs of a section, in the order of its places.
local function waiters_of(section)
  local ids = {}
  for number, at in ipairs(section.places) do ids[number] = section.fields[at + 2] end
  return redis.call('HMGET', base .. 'waiters', unpack(ids))
end

-- Completes the plain deliveries of a section. The end of one that somebody waits for, or that
-- the index does not lead to as it nearly always does, is recorded as those of others are.
local function complete_all(section)
  local fields, entries, pointers = section.fields, section.entries, section.pointers
  local waiters = kept.anybody_waits and waiters_of(section) or {}
  local way, completed = ' 0 ' .. string.sub(section.stream, #base + 6) .. ' ', ' completed' .. (kept.facts or '')
  local deleted = leave(section.stream, section.group, entries)
  for number, at in ipairs(section.places) do
    local id, generation, text = fields[at + 2], fields[at + 3], fields[at + 4]
    -- A text that begins with the space says nothing of the run.
    if waiters[number] or pointers[number] ~= generation .. way .. entries[number] or string.byte(text) == 32 then
      others().record_plain(section, at, pointers[number])
    else
      unlist(live_buckets .. fields[at + 1], id)
      if kept.facts then
        redis.call('SET', results .. id, generation .. completed .. text, 'PX', result_ttl)
      end
    end
  end
  count('completed', #entries)
  if #deleted > 0 then keep_lag(section.stream, deleted) end
end
