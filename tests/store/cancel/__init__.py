"""cancel.lua on real Redis: a cancelled job ends as that, once, whoever has it."""
