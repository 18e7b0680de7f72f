-- Messages to whoever listens now. Each spares somebody a look, and is sent behind what it tells
-- of: one that Redis refuses must not be an error, for nothing of that could be taken back.

local function tell()
  if made.tell then return made.tell end
  -- A hint to the workers of a queue. Its word is one of consumers/store/hint_words.py.
  local function hint(base, word, about)
    redis.pcall('PUBLISH', base .. 'control', about and word .. ' ' .. about or word)
  end

  -- The end of a job, to a process that waits for it.
  local function waiter(channel, message) redis.pcall('{{publish}}', channel, message) end

  made.tell = {
    hint = hint, waiter = waiter,
  }
  return made.tell
end
