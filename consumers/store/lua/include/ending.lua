-- The end of a run of a job. Nothing else takes one out of the index of live jobs. A run
-- has its live bucket, id, generation and, as far as it is known, its pointer and the hash of its
-- idempotency key. Needs unlist, live and guard.

local function ending()
  if made.ending then return made.ending end
  -- Whether the index leads to this very run.
  local function is_listed(run)
    return run.pointer and generation_in(run.pointer) == run.generation
  end

  -- Processes that wait for a job's end: id -> the channels to tell, separated by spaces.
  -- A message spares them the next look at the job. It is sent behind what ends the job, so one
  -- that Redis refuses must not be an error: nothing of that could be taken back.
  -- others_wait: for a later run of the id, so they are remembered.
  local function tell_waiters(base, run, state, value, others_wait)
    local channels = redis.call('HGET', base .. 'waiters', run.id)
    if not channels then return end
    if not others_wait then redis.call('HDEL', base .. 'waiters', run.id) end
    for channel in string.gmatch(channels, '%S+') do
      tell().waiter(channel,
        base .. ' ' .. run.id .. ' ' .. run.generation .. ' ' .. state .. ' ' .. value)
    end
  end

  -- Takes a run out of the index, if that leads to it, and keeps how it ended for those who
  -- ask; the generation tells runs of one id apart. kept says how long (ttl in ms, '0' for not
  -- at all), whether anybody waits for any end, and what is kept before what is told of the run.
  -- The index is first: full memory allows that.
  local function record(base, run, state, value, kept, told)
    if is_listed(run) then unlist(run.bucket, run.id) end
    if run.idempotency then guards().expire(base, run.idempotency, run.id, run.generation) end
    if kept.anybody_waits then tell_waiters(base, run, state, value) end
    if kept.ttl == '0' then return end
    redis.call('SET', base .. 'result:' .. run.id,
      run.generation .. ' ' .. state .. (told == '' and '' or kept.facts) .. told .. ' ' .. value,
      'PX', kept.ttl)
  end

  -- Of a run that was cancelled while it waited the end was recorded then; and where its id was
  -- taken over, the index and the result are another's.
  local function pass_over(base, run, kept)
    if run.idempotency then guards().expire(base, run.idempotency, run.id, run.generation) end
    if kept.anybody_waits then
      tell_waiters(base, run, 'cancelled', 'cancelled', true)
    end
  end

  made.ending = {
    is_listed = is_listed, record = record, pass_over = pass_over,
  }
  return made.ending
end
