"""The rows of settle, one for each kind of outcome, and of what else ends a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import ANY

from consumers.jobs import guards
from consumers.jobs.outcome import Buried, RetryAt
from consumers.store import asking, changing, relaying, replaying, settling
from consumers.store.scripts import Call
from tests.store.conformance.emitting import DELAYED, HOUR_MS, LATER, OF_A_BATCH, TRAILING
from tests.store.conformance.row import (
    AS_USUAL,
    DOOR,
    REFUSED,
    REPLACED,
    Reply,
    Row,
    all_of,
    lane,
    lane_and_front,
    nothing,
)
from tests.store.settle.outcomes import neighbours, settlement
from tests.support.queue import BOUNDS, ME, RESULT_TTL_MS, Queue, new_job

CHANNEL = "tm:{default}:results:me"
KEY = guards.idempotent("key")
# What the two completed neighbours of each outcome write, in a lane of their own.
BESIDE = f"{DOOR} stats live:n live:m result:n result:m {lane(9)}"
EVENT_LANE = "lane:event.e:default:0"
CHILDS_LANE = lane_and_front(1)


def _settle(kind: str) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        batch = [settlement(queue.one(), kind), *neighbours(queue)]
        return settling.settle_items(queue.keys, ME, RESULT_TTL_MS, batch, BOUNDS)

    return call


def _settle_row(kind: str, writes: str, refuse: str = "") -> Row:
    """A batch of an outcome and two others; refuse are keys that refuse this outcome only."""
    alone = f"{lane()} live:a {writes}"
    foreign = {
        **OF_A_BATCH,
        "waiters": REFUSED,
        **all_of("cancelled cancelling dead dead_index", AS_USUAL),
        **all_of("result:a result:n result:m", REPLACED),
        lane(): Reply("0 1 1", writes=BESIDE),
        lane(9): Reply("1 0 0", writes=f"{DOOR} stats {alone}"),
        "live:n": Reply("1 T{key} 1", writes=f"{DOOR} stats live:m result:m {lane(9)} {alone}"),
        "live:m": Reply("1 1 T{key}", writes=f"{DOOR} stats live:n result:n {lane(9)} {alone}"),
        **all_of(f"live:a {refuse}", Reply("T{key} 1 1", writes=BESIDE)),
    }
    if kind == "complete":
        # A job that has no children and goes nowhere needs no lane.
        foreign["lanes"] = AS_USUAL
    return Row("settle", kind, _settle(kind), "1 1 1", f"{BESIDE} {alone}", foreign, is_batch=True)


def _cancel(bring: Callable[[Queue], object]) -> Callable[[Queue], Call]:
    """Cancel a job for whose end somebody waits."""

    def call(queue: Queue) -> Call:
        bring(queue)
        wait = asking.inspect(queue.keys, "a", channel=CHANNEL, waiter_ttl_ms=HOUR_MS)
        queue.run(wait)
        return changing.cancel(queue.keys, "a", None, RESULT_TTL_MS)

    return call


def _retrying(queue: Queue) -> None:
    queue.settle((queue.one(new_job(guard=KEY)), RetryAt(HOUR_MS)))


def _cancel_row(case: str, bring: Callable[[Queue], object], writes: str, refuse: str) -> Row:
    return Row(
        "cancel", case, _cancel(bring), ["cancelled", 1, ANY],
        f"live:a stats waiters result:a {writes}",
        {
            **all_of(f"live:a waiters cancelled cancelling {refuse}", REFUSED),
            **all_of("stats idem:key debounce:storm", AS_USUAL),
            "result:a": REPLACED,
        },
    )  # fmt: skip


def _ask_and_wait(queue: Queue) -> Call:
    queue.settle((queue.one(), Buried("failed")))
    queue.emit(new_job())
    return asking.inspect(queue.keys, "a", channel=CHANNEL, waiter_ttl_ms=HOUR_MS)


def _ask_again(queue: Queue) -> Call:
    call = _ask_and_wait(queue)
    queue.run(call)
    return call


def _leave(queue: Queue) -> Call:
    queue.emit(new_job())
    for channel in (CHANNEL, "another"):
        queue.run(asking.inspect(queue.keys, "a", channel=channel, waiter_ttl_ms=HOUR_MS))
    return asking.forget_waiter(queue.keys, "a", CHANNEL)


def _purge(queue: Queue) -> Call:
    queue.emit(new_job("a"), new_job("b"))
    queue.settle(*((it, Buried("failed")) for it in queue.deliver()))
    return replaying.purge(queue.keys, 0)


def _purge_in_turn(queue: Queue) -> Call:
    """What a janitor does: nobody has looked yet."""
    _purge(queue)
    return replaying.purge(queue.keys, 0, every_ms=HOUR_MS)


def _quarantine(queue: Queue) -> Call:
    entry = queue.redis.xadd(queue.keys.outbox, {"somebody": "else's"})
    return relaying.quarantine(queue.keys, entry, b"\x00raw", "why")


def _are_live(queue: Queue) -> Call:
    queue.emit(new_job("a"))
    queue.one(new_job("b", priority=5))
    return asking.are_live(queue.keys, [("a", 1), ("b", 2), ("c", 3)])


def _explain(queue: Queue) -> Call:
    return asking.explain(queue.keys, "a", entries=10, lanes=10)


def _explain_waiting(queue: Queue) -> Call:
    """Behind others, with an old letter of the id."""
    queue.settle((queue.one(), Buried("failed")))
    queue.emit(new_job("b"), new_job("c", priority=5), new_job("a"))
    return _explain(queue)


def _explain_running(queue: Queue) -> Call:
    queue.one()
    return _explain(queue)


def _explain_put_off(queue: Queue) -> Call:
    _retrying(queue)
    return _explain(queue)


def _explain_ended(queue: Queue) -> Call:
    queue.settle((queue.one(), Buried("failed")))
    return _explain(queue)


def _explain_row(case: str, call: Callable[[Queue], Call], refuse: str) -> Row:
    """It writes nothing; refuse are keys that this case needs besides those of every case."""
    foreign = {
        **all_of(f"dead lanes delayed:envelopes {lane_and_front()}", Reply(ANY)),
        **all_of(f"live:a result:a dead_index meta {refuse}", REFUSED),
    }
    return Row("explain", case, call, ANY, "", foreign)


def _waiting_ids(queue: Queue) -> Call:
    queue.one(new_job("held"))
    queue.emit(new_job("b"), new_job("c"), new_job("a", due=LATER), new_job("d", due=LATER))
    return asking.waiting_ids(queue.keys, 10, 10)


SETTLE = [
    _settle_row("complete", "result:a"),
    _settle_row(
        "complete with a child", f"meta lanes result:a live:child {CHILDS_LANE}",
        refuse=f"live:child {CHILDS_LANE}",
    ),
    _settle_row("complete with a child elsewhere", "meta result:a outbox", refuse="outbox"),
    _settle_row("bury", "result:a dead dead_index", refuse="dead dead_index"),
    _settle_row("bury raw", "result:a dead dead_index", refuse="dead dead_index"),
    _settle_row("cancel", "result:a"),
    _settle_row("retry", "", refuse=f"{DELAYED}"),
    _settle_row("retry later", DELAYED, refuse=f"{DELAYED}"),
    _settle_row("release", f"{lane()}:front", refuse=f"{lane()}:front"),
    _settle_row(
        "release to its event", f"lanes {EVENT_LANE} {EVENT_LANE}:front",
        refuse=f"{EVENT_LANE} {EVENT_LANE}:front",
    ),
]  # fmt: skip
ROWS = [
    *SETTLE,
    _cancel_row(
        "waiting", lambda queue: queue.emit(new_job(guard=KEY)), "cancelled idem:key", lane()
    ),
    replace(
        _cancel_row("running", lambda queue: queue.one(new_job(guard=KEY)), "", lane()),
        answer=["requested", 1], writes="cancelling stats",
    ),
    _cancel_row(
        "delayed", lambda queue: queue.emit(new_job(guard=KEY, due=LATER)),
        f"{DELAYED} idem:key", DELAYED,
    ),
    _cancel_row("retrying", _retrying, f"{DELAYED} idem:key", DELAYED),
    _cancel_row("debounced", lambda queue: queue.emit(new_job(guard=TRAILING)), DELAYED, DELAYED),
    Row(
        "inspect", "asks and will wait", _ask_and_wait, ANY, "waiters",
        {
            **all_of("live:a result:a dead_index dead waiters", REFUSED),
            lane(): nothing(["", [], "", 0, 0, ANY, ANY, ANY, ""]),
        },
        in_full_memory=nothing(ANY),
    ),
    Row(
        "inspect", "waits already", _ask_again, ANY, "",
        {
            **all_of("live:a result:a dead_index dead waiters", REFUSED),
            lane(): nothing(["", [], "", 0, 0, ANY, ANY, ANY, ""]),
        },
    ),
    _explain_row("waiting", _explain_waiting, "dead lanes"),
    _explain_row("running", _explain_running, "lanes"),
    _explain_row("put off", _explain_put_off, "lanes delayed:envelopes"),
    _explain_row("ended", _explain_ended, "dead"),
    Row(
        "waiting_ids", "", _waiting_ids, [4, ["b", "c", "a", "d"], 0], "",
        {
            **all_of("lanes delayed", REFUSED),
            lane(): nothing([2, ["a", "d"], 0]),
            f"{lane()}:front": AS_USUAL,
        },
    ),
    Row("forget_waiter", "", _leave, 1, "waiters", all_of("waiters", REFUSED)),
    Row(
        "purge", "", _purge, [2, 0], "dead dead_index stats",
        all_of("dead dead_index stats meta", REFUSED),
    ),
    Row(
        "purge", "in turn", _purge_in_turn, [2, 0], "dead dead_index stats meta",
        all_of("dead dead_index stats meta", REFUSED),
    ),
    Row(
        "quarantine", "", _quarantine, 1, "outbox dead dead_index stats",
        {**all_of("outbox dead dead_index", REFUSED), "stats": AS_USUAL},
    ),
    Row(
        "are_live", "", _are_live, "110", "",
        {
            "meta": AS_USUAL,
            **all_of("live:a live:b", REFUSED),
            lane(): nothing("010"),
            lane(5): nothing("100"),
        },
    ),
]  # fmt: skip
