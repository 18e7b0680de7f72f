"""Guarantees taken out of the scripts, one at a time: the machine must notice each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest

from consumers.store.scripts import Script
from tests.support.scripts import held


@dataclass(frozen=True)
class Mutant:
    """A piece of the scripts' text, and what stands in its place."""

    name: str
    text: str
    instead: str

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of the real scripts; fails when none has the text any more."""
        found = [
            monkeypatch.setattr(module, name, self._mutated(script))
            for module, name, script in held()
            if self.text in script.source
        ]
        assert found, f"no script holds {self.text!r}: the mutant {self.name} is out of date"

    def _mutated(self, script: Script) -> Script:
        source = script.source.replace(self.text, self.instead)
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return replace(script, source=source, sha=sha)


_COMPLETED = """\
    ending().record(base, delivery, 'completed', delivery.result or ARGV[at], kept, delivery.told)
    count('completed', 1)
    if delivery.result then return end
"""

MUTANTS = (
    Mutant(
        "the fence lets everybody write",
        "return row and row[2] == consumer and row[4] == tonumber(count)",
        "return true",
    ),
    Mutant(
        "the fence does not look at the count",
        "return row and row[2] == consumer and row[4] == tonumber(count)",
        "return row and row[2] == consumer",
    ),
    Mutant(
        "the door remembers nothing",
        "if number ~= '0' then\n  local seen",
        "if false then\n  local seen",
    ),
    Mutant(
        "what is put off reserves no lane",
        "  if is_new then redis.pcall('HINCRBY', delayed .. ':lanes', lane, 1) end\n",
        "",
    ),
    Mutant(
        "an ended job stays in the index",
        "redis.call('HDEL', bucket, id)",
        "",
    ),
    Mutant(
        "the mark of a cancelled entry is forgotten",
        "    redis.call('SADD', base .. 'cancelled', mark)\n",
        "",
    ),
    Mutant(
        "a cancelled entry is deleted while it waits",
        "    redis.call('SADD', base .. 'cancelled', mark)\n",
        "    redis.call('XDEL', stream, entry)\n",
    ),
    Mutant(
        "a settled mark stays",
        "    cancelled().unmark(base, lane_name(base, delivery.stream), delivery.entry)\n",
        "",
    ),
    Mutant(
        "children do not count as generations",
        "local given, answer = counted.emitted and generation,",
        "local given, answer = false,",
    ),
    Mutant(
        "a parent leaves after its children",
        f"{_COMPLETED}    add_children(at)\n",
        f"    if not delivery.result then add_children(at) end\n{_COMPLETED}",
    ),
    Mutant(
        "a release counts as a crash",
        "said.crashes + delivered - 1",
        "said.crashes + delivered",
    ),
    Mutant(
        "a replayed letter stays",
        "  room = room - letters().drop(base, letter[1], letter[2])\n",
        "",
    ),
    Mutant(
        "a letter is replayed although its id lives",
        "  if lives then return '=' .. lives end\n",
        "",
    ),
    Mutant(
        "the target forgets what it took from an outbox",
        "  if is_older(last, ARGV[at]) then",
        "  if true then",
    ),
    Mutant(
        "a lane goes although a delayed job needs it",
        "if redis.call('HEXISTS', base .. 'delayed:lanes', name) == 1 then return 0 end\n",
        "",
    ),
    Mutant(
        "a repaired group starts at the end",
        "'XGROUP', 'CREATE', stream, ARGV[2], '0', 'MKSTREAM'",
        "'XGROUP', 'CREATE', stream, ARGV[2], '$', 'MKSTREAM'",
    ),
    Mutant(
        "a renewal takes what is another's",
        "  if ours then redis.call('XCLAIM'",
        "  if true then redis.call('XCLAIM'",
    ),
    Mutant(
        "an idempotency key does not end with its job",
        "    if key then redis.call('PEXPIRE', key, KEPT_AFTER_END) end\n",
        "",
    ),
    Mutant(
        "a schedule fires a time again",
        "found[2] ~= slot or slot == '' or found[4] then return { 'stale', 0 } end\n"
        "if is_past(slot, found[3])",
        "found[4] then return { 'stale', 0 } end\nif false",
    ),
)
