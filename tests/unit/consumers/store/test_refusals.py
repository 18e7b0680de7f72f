"""Which error of ours stands for what Redis says, whatever it puts around the word."""

from __future__ import annotations

import pytest
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from consumers.errors import BrokenKey, LayoutMismatch, QueueFull, TaskManagerError
from consumers.store.keys import Keys
from consumers.store.refusals import is_foreign_value, is_out_of_memory, meaning

KEYS = Keys("q")
FULL = "OOM command not allowed when used memory > 'maxmemory'."
OPERATION = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoPermissionError("No permissions to access a key"), TaskManagerError),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), QueueFull),
        (ResponseError(f"Error running script: @user_script:1: -{FULL}"), QueueFull),
        (ResponseError("LAYOUT 2 1"), LayoutMismatch),
        (ResponseError("ERR LAYOUT 2 1 script: abc, on @user_script:9."), LayoutMismatch),
        (ResponseError(f"WRONGTYPE {KEYS.meta}"), BrokenKey),
        (ResponseError(f"WRONGTYPE {KEYS.meta} script: abc, on @user_script:9."), BrokenKey),
    ],
)
def test_a_refusal_means(error: ResponseError, kind: type[TaskManagerError]) -> None:
    assert type(meaning(error, KEYS, "here")) is kind


@pytest.mark.parametrize(
    "text", [OPERATION, f"ERR user_script: {OPERATION}", "ERR value is not an integer", "LAYOUT"]
)
def test_of_other_refusals_nothing_is_said(text: str) -> None:
    assert meaning(ResponseError(text), KEYS, "here") is None


def test_a_key_that_redis_does_not_name_is_known_to_be_foreign() -> None:
    assert is_foreign_value(ResponseError(OPERATION))
    assert not is_foreign_value(ResponseError(FULL))


def test_a_queue_may_be_named_like_a_refusal() -> None:
    keys = Keys("OOM")
    error = ResponseError(f"WRONGTYPE {keys.meta}")

    assert not is_out_of_memory(error)
    assert isinstance(meaning(error, keys, "here"), BrokenKey)


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("ERR NOPERM XINFO GROUPS script: abc, on @user_script:9."),
        NoPermissionError("ERR NOPERM XINFO GROUPS script: abc, on @user_script:9."),
        ResponseError("Error running script (call to f_abc): NOPERM XINFO GROUPS"),
    ],
)
def test_a_command_that_a_script_names_is_what_to_grant(error: ResponseError) -> None:
    assert str(meaning(error, KEYS, "here")) == (
        "this Redis user is not allowed to run XINFO GROUPS in scripts on keys and channels "
        f"{KEYS.pattern}: extend its ACL rules"
    )


def test_what_is_lacking_is_told_with_the_keys_to_grant() -> None:
    found = meaning(NoPermissionError("No permissions to access a key"), KEYS, "here")

    assert f"~{KEYS.base}*" in str(found)
