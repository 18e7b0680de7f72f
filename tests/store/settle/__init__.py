"""settle.lua on real Redis: outcomes are recorded whole and once, or not at all."""
