"""What can be read off the scripts: their headers, and that preflight knows every command."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from consumers.open import rights
from consumers.store import hint_words
from consumers.store.keys import Fleet, Keys
from consumers.store.scripts import Dialect, Script, load
from tests.support.script_files import all_names, header, own_text
from tests.support.scripts import engine_scripts

SCRIPTS = (*engine_scripts(), load("forget_run", "processors"))
# All but the one that tries the commands of the others.
COMMANDING = [script for script in SCRIPTS if script.name != "check_rights"]
BY_NAME = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
LUA = Path(str(resources.files("consumers.store"))) / "lua"

_CALL = re.compile(r"redis\.p?call\(([^,)]*)")
_LITERAL = re.compile(r"'[A-Z]+'")
_INCLUDE = re.compile(r"^-- include ([\w/]+)$", re.MULTILINE)
# A block of a script is indented, its own locals are not.
_LOCAL = re.compile(r"^local (?:function \w+|\w+(?:, \w+)*)", re.MULTILINE)
# Lua takes 200, and each include that is yet to come wants two.
MOST_LOCALS = 80
# What a script makes only when it is needed; what is pasted in there is not indented.
_OTHERS = re.compile(
    r"^local function others\(\)$.*?^  return made\.others\nend$", re.DOTALL | re.MULTILINE
)


def number_of_locals(source: str) -> int:
    """Return how many local names a script has in its outermost block, or in that of others."""
    within = "".join(_OTHERS.findall(source))
    return max(_locals_in(_OTHERS.sub("", source)), _locals_in(within))


def _locals_in(block: str) -> int:
    return sum(1 + found.count(",") for found in _LOCAL.findall(block))


def known_to_preflight() -> set[str]:
    """Return the commands in the table of check_rights.lua."""
    table = re.search(r"local harmless = \{(.*?)\n\}", own_text("check_rights"), re.DOTALL)
    assert table is not None
    names = re.findall(r"(?:\['([A-Z ]+)'\]|\b([A-Z]+)) = \{", table[1])
    return {quoted or bare for quoted, bare in names}


def test_every_script_in_the_folder_is_tested_here() -> None:
    assert all_names() == {script.name for script in SCRIPTS}


def test_preflight_tries_every_command_and_knows_no_other() -> None:
    assert set(rights.commands()) == known_to_preflight()


@pytest.mark.parametrize("script", COMMANDING, ids=lambda script: script.name)
def test_every_command_of_a_script_can_be_read_by_preflight(script: Script) -> None:
    called = _CALL.findall(script.source)

    # A name that is computed would be missed, and with it a missing right.
    assert called
    assert [name for name in called if not _LITERAL.fullmatch(name)] == []


@BY_NAME
def test_every_script_says_its_purpose_its_keys_its_arguments_and_what_it_returns(
    script: Script,
) -> None:
    text = header(script.name)

    assert re.match(r"-- [A-Z][^\n]*[.:]", text)
    for word in ("KEYS", "ARGV", "Returns"):
        assert re.search(rf"^-- {word}\b", text, re.MULTILINE), f"{word} is not documented"


@BY_NAME
@pytest.mark.parametrize("kind", ["KEYS", "ARGV"])
def test_every_input_a_script_reads_by_number_is_documented(script: Script, kind: str) -> None:
    text, body = header(script.name), own_text(script.name).removeprefix(header(script.name))
    code = re.sub(r"--[^\n]*", "", body)

    documented = {int(n) for n in re.findall(rf"^-- {kind}\[(\d+)", text, re.MULTILINE)}
    used = {int(n) for n in re.findall(rf"\b{kind}\[(\d+)\]", code)}

    assert used <= documented
    assert documented == set(range(1, len(documented) + 1))


@BY_NAME
def test_a_script_includes_what_exists_and_each_part_once(script: Script) -> None:
    included = _INCLUDE.findall(own_text(script.name))

    assert [name for name in included if not (LUA / f"include/{name}.lua").is_file()] == []
    assert len(included) == len(set(included))
    assert "-- include" not in script.source


def test_the_locals_of_a_script_are_counted() -> None:
    source = "local one, two = 1, 2\nlocal function three(four)\n  local five\nend\nlocal six"

    others = "local function others()\nlocal a, b, c, d, e = 1\n  return made.others\nend"

    assert number_of_locals(source) == 4
    assert number_of_locals(f"{source}\n{others}\nlocal seven") == 6


@BY_NAME
def test_a_script_leaves_room_for_locals_to_come(script: Script) -> None:
    assert number_of_locals(script.source) < MOST_LOCALS


@BY_NAME
def test_no_script_fails_because_a_message_cannot_be_published(script: Script) -> None:
    # It would do so behind its first write, and the rest of what it writes would be missing.
    assert "redis.call('PUBLISH'" not in script.source


@BY_NAME
def test_no_script_declares_flags_that_full_memory_would_refuse(script: Script) -> None:
    assert not script.source.startswith("#!")


@BY_NAME
def test_no_payload_passes_through_a_json_codec_of_lua(script: Script) -> None:
    # Texts that were packed for the way are taken apart as they were; nothing is packed there.
    assert not re.search(r"cjson|cmsgpack(?!\.unpack)", script.source)


# Every text of the engine's scripts, by its path.
TEXTS = {str(path.relative_to(LUA)): path.read_text("utf-8") for path in sorted(LUA.rglob("*.lua"))}
_HEAD = re.compile(r"%d\+\)?:|:[a-z]=")
# Hashes of which scripts delete fields, apart from the index of live jobs.
_OTHER_HASHES = {
    "facts", "schedule", "meta", "waiters", "index", "base .. 'waiters'", "base .. 'delayed:lanes'",
    "workers", "delayed .. ':envelopes'", "base .. 'routes'",
}  # fmt: skip


def places_of(pattern: re.Pattern[str] | str) -> set[str]:
    """Return which texts have something outside their comments that matches."""
    return {
        path for path, text in TEXTS.items() if re.search(pattern, re.sub(r"--[^\n]*", "", text))
    }


def test_a_job_leaves_the_index_of_live_jobs_in_one_place() -> None:
    deleted = {
        (path, key)
        for path, text in TEXTS.items()
        for key in re.findall(r"'HDEL', ([^,)]+)", text)
        if key not in _OTHER_HASHES
    }

    assert deleted == {("include/unlist.lua", "bucket")}
    assert places_of(r"'DEL'") <= {"change_schedule.lua", "retire_lane.lua", "check_rights.lua"}


def test_one_place_takes_heads_of_entries_apart() -> None:
    patterns = {
        (path, pattern)
        for path, text in TEXTS.items()
        for pattern in re.findall(r"string\.\w+\([^\n]*?'([^'\n]*)'", text)
        if _HEAD.search(pattern)
    }

    # A place within the queue's keys, and the length of a part, are no heads.
    assert {path for path, _ in patterns} <= {"include/clauses.lua", "include/delayed.lua"}
    assert {pattern for path, pattern in patterns if path == "include/delayed.lua"} <= {
        "^(%d+)():", "^[^:]+:[^:]+:%-?%d%d?%d?$",
    }  # fmt: skip


@BY_NAME
def test_a_script_has_what_it_calls_from_its_includes(script: Script) -> None:
    # What is no local yet where it is called is looked for among the globals, and only then.
    code = re.sub(r"--[^\n]*|'[^'\n]*'", "", script.source)
    included = {
        name
        for path, text in TEXTS.items()
        if path.startswith("include/")
        for name in re.findall(r"^local function (\w+)", text, re.MULTILINE)
    }
    called = {name for name in re.findall(r"(?<![\w.:])(\w+)\(", code) if name in included}
    for name in called:
        made, _, _ = code.partition(f"local function {name}(")
        assert made != code, f"{name} is not included"
        assert not re.search(rf"(?<![\w.:]){name}\(", made), f"{name} is included too late"


def test_one_place_reads_the_clock() -> None:
    assert places_of(r"call\('TIME'") == {"include/clock.lua"}


def test_one_place_publishes() -> None:
    assert places_of(r"call\('S?PUBLISH'|\{\{publish\}\}") == {
        "check_rights.lua",
        "include/tell.lua",
    }


def test_the_words_of_hints_are_those_in_the_table() -> None:
    said = {word for text in TEXTS.values() for word in re.findall(r"hint\(base, '(\w+)'", text)}

    assert said == hint_words.ALL


def test_a_dialect_is_written_into_the_text_of_a_script() -> None:
    plain = load("settle")
    other = load("settle", dialect=Dialect(now="server_ms() + 5", publish="SPUBLISH"))

    assert "{{" not in plain.source
    assert "pcall('SPUBLISH', channel" in other.source
    assert "return server_ms() + 5 end" in other.source
    # Hints go to all nodes.
    assert "pcall('PUBLISH', base .. 'control'" in other.source
    assert plain.sha != other.sha


def test_one_way_leads_into_a_lane() -> None:
    added = {
        (path, key) for path, text in TEXTS.items() for key in re.findall(r"'XADD', ([^,)]+)", text)
    }

    assert added - {("check_rights.lua", "key")} == {
        ("include/enter.lua", "stream"),
        # Plain jobs, without a call.
        ("emit.lua", "stream"),
        ("include/dead.lua", "dead"),
        ("include/outcomes/complete.lua", "outbox"),
    }


def test_every_script_that_adds_moves_or_ends_jobs_ends_alike() -> None:
    writers = places_of(r"\b(enter\(|admission\(|ending\(|count\()")

    ends = re.compile(r"^local given\b[^=]* = .*^-- include tail$", re.DOTALL | re.MULTILINE)
    scripts = {path for path in writers if "/" not in path}
    assert scripts == {path for path, text in TEXTS.items() if ends.search(text)}


def test_what_went_through_the_door_is_answered_there() -> None:
    by_door = {path for path, text in TEXTS.items() if "\n-- include door\n" in text}

    assert by_door == {path for path, text in TEXTS.items() if text.endswith("-- include answer\n")}
    assert by_door == {"emit.lua", "settle.lua", "replay.lua"}


def test_a_script_of_a_queue_declares_a_key_that_never_exists() -> None:
    script, keys = SCRIPTS[0], Keys("mail", "app")

    assert script.by_sha([keys.meta, keys.lanes], ["x"]) == (
        "EVALSHA", script.sha, 3, keys.meta, keys.lanes, "app:{mail}:never", "x",
    )  # fmt: skip
    assert script.by_source([keys.result("a}:b")], [])[2:] == (
        2, keys.result("a}:b"), "app:{mail}:never",
    )  # fmt: skip


def test_a_script_of_no_queue_declares_its_keys_alone() -> None:
    script = SCRIPTS[0]

    assert script.by_sha([Fleet().workers], []) == ("EVALSHA", script.sha, 1, "tm:workers")
    assert script.by_sha([], []) == ("EVALSHA", script.sha, 0)
