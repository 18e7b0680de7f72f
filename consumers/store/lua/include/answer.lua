-- How a script ends that went through the door: it keeps its answer there, and gives it.

-- Ten idle minutes are longer than any writer repeats a batch. Where memory is full and the batch
-- wrote nothing, this is refused too: a repeat finds the same.
if number ~= '0' then
  redis.pcall('SET', door, number .. ' ' .. digest .. ' ' .. answer, 'PX', '600000')
end
return answer
