-- A delivery is completed, and its children are added in the same step.
--
-- ARGV  result
--       number of children, eight a child as in emit
--       number of children of other queues, nine each: queue, lane, live bucket, id,
--       event, data, options, when it is due, guard

function outcomes.complete()
  local it, OUT_FIELDS, outbox = {}, 9, base .. 'outbox'

  local function children_at(at) return at + 2, tonumber(ARGV[at + 1]) end

  local function outbound_at(at)
    local first, number = children_at(at)
    local after = first + JOB_FIELDS * number
    return after + 1, tonumber(ARGV[after])
  end

  function it.step(at)
    local first, number = outbound_at(at)
    return first + OUT_FIELDS * number - at
  end

  -- A child with its parent's id enters: the parent leaves before it.
  local function child_refusal(delivery, child, opening)
    local found, refusal = admission().look(base, child)
    if refusal then return refusal end
    if found and not admission().is_changed(found) and found.id ~= delivery.id then return nil end
    refusal = admission().refusal(base, listed, child, most, opening)
    if refusal or opening.checked[child.stream] then return refusal end
    opening.checked[child.stream] = true
    return lanes().stream_refusal(child.stream)
  end

  function it.refusal(delivery, at)
    if delivery.result then return nil end
    local opening, first, number = { checked = {} }, children_at(at)
    for child = first, first + JOB_FIELDS * (number - 1), JOB_FIELDS do
      local refusal = child_refusal(delivery, admission().job_at(child), opening)
      if refusal then return refusal end
    end
    local _, outbound = outbound_at(at)
    return outbound > 0 and lanes().stream_refusal(outbox) or nil
  end

  local function add_children(at)
    local first, number = children_at(at)
    for child = first, first + JOB_FIELDS * (number - 1), JOB_FIELDS do
      local job = admission().job_at(child)
      local found = admission().look(base, job)
      if found then
        admission().absorb(base, listed, stats, job, found, now_ms())
      else
        generation = generation + 1
        count('emitted', 1)
        admission().admit(base, listed, job, generation, now_ms())
      end
    end
  end

  -- The epoch of the outbox: when the queue began, and how many outboxes it has had. Of one that
  -- was made again entries may be lower than those of the one before.
  local function epoch_of_outbox()
    if kind_of(outbox) == 'none' then
      name_epoch(meta, now_ms())
      redis.pcall('HINCRBY', meta, 'outboxes', 1)
    end
    local found = redis.call('HMGET', meta, 'began', 'outboxes')
    return (found[1] or '') .. '.' .. (found[2] or '')
  end

  -- Children of other queues lie in slots that this script must not touch: they
  -- are committed here, and relayed from here in order.
  local function post_children(at)
    local first, number = outbound_at(at)
    if number == 0 then return end
    local epoch = epoch_of_outbox()
    for child = first, first + OUT_FIELDS * (number - 1), OUT_FIELDS do
      redis.call('XADD', outbox, '*', 'queue', ARGV[child], 'lane', ARGV[child + 1],
        'bucket', ARGV[child + 2], 'id', ARGV[child + 3], 'event', ARGV[child + 4],
        'data', ARGV[child + 5], 'options', ARGV[child + 6], 'due', ARGV[child + 7],
        'guard', ARGV[child + 8], 'epoch', epoch)
    end
    tell().hint(base, 'outbox')
  end

  function it.write(delivery, at)
    take(delivery)
    ending().record(base, delivery, 'completed', delivery.result or ARGV[at], kept, delivery.told)
    count('completed', 1)
    if delivery.result then return end
    add_children(at)
    post_children(at)
  end

  return it
end
