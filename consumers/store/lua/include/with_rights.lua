-- Other scripts take whatever is refused for something that is not there. Of one that only answers,
-- the answer would then be wrong: here a command that the user may not run is an error. Needs
-- denied, and stands before all that calls a command.

local try = redis.pcall
local redis = setmetatable({
  pcall = function(command, ...)
    local reply = try(command, ...)
    if is_denied(reply) then
      local subcommand = ...
      -- As a text: 6.2 has no other errors.
      error('NOPERM ' .. (command == 'XINFO' and command .. ' ' .. subcommand or command), 0)
    end
    return reply
  end,
}, { __index = redis })
