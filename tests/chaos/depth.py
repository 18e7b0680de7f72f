"""How much chaos the tests make: a short form by default, all of it with CHAOS_TESTS=whole."""

from __future__ import annotations

import os

from tests.support.servers import chosen, find_binaries

WHOLE = os.environ.get("CHAOS_TESTS") == "whole"

SEEDS = (1, 2, 3) if WHOLE else (1,)
# Of the nemesis; the machine of the short form has other things to do as well.
SECONDS = 15.0 if WHOLE else 10.0
BINARIES = find_binaries() if WHOLE else chosen()
# What a mutant does wrong it does on every server.
SERVERS = BINARIES if WHOLE else BINARIES[:1]
