"""Chance for jitter, apart from the generator of the module random: that is the application's.

Programs seed it. Then all workers of a fleet would wait equally long and look at the same
things, and our draws would change what the application draws after them.
"""

from __future__ import annotations

from random import SystemRandom

# It has no state, so that forked processes differ as well.
chance = SystemRandom()
