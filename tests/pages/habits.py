"""The habits that make English hard to read, and the sentences that had them.

Each habit has a pattern, what to write instead, and an example of both. A blank in a pattern is any
white space. Nothing else lists what texts may not say.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Habit(NamedTuple):
    """One habit: its pattern, what is plain, and a sentence with it and without it."""

    pattern: str
    plain: str
    bad: str
    good: str

    @property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern.replace(" ", r"\s+"), re.IGNORECASE)


_NUMBER = r"(?:\d[\d,]*(?:\.\d+)?|one|two|three|four|thousand|million)"
_COUNTED = (
    r"(?:jobs?|emits?|runs?|lines?|requests?|messages?|lanes?|threads?|connections?|letters?)"
)
_UNIT = r"(?:second|minute|queue|process|key|job|worker|event|lane|run|file|storm|burst|host)"

HABITS = (
    Habit(
        r"\b(?:that|those) of\b",
        "repeat the noun",
        "Its priority is that of the parent.",
        "It has the priority of its parent.",
    ),
    Habit(
        r"(?:\A|[.;:(\n] ?|\b(?:for|to|of|by|that) )"
        r"who (?:is first|has no|waits|wants|asks|reads|needs|gets|emits|starts)\b",
        '"the job", "anyone" or "a worker"',
        "Who has no retries left becomes a dead letter.",
        "A job with no retries left becomes a dead letter. Ask anyone who waits for it.",
    ),
    Habit(
        r"\balso (?:when|while|if)\b|[,;:(] also (?:in|by|on|at|for|with|from|to|of)\b",
        '"even if", "even on", "and"',
        "It runs once, also when the clocks change.",
        "It runs once, even when the clocks change. See also the table in chapter 2.",
    ),
    Habit(
        rf"\b{_NUMBER} (?:\w+ )?{_COUNTED} an? {_UNIT}\b|\bjobs a (?:second|minute|hour)\b",
        '"per second", "per queue", "per job"',
        "It runs 20,000 jobs a second, and one job a key.",
        "It runs 20,000 jobs per second: how many jobs a worker runs is up to it.",
    ),
    Habit(
        r"\b(?:is|are|was|were) told (?:in|of|about|as)\b"
        r"|\btells (?:of|about|what|how|why|when|which|whether|that|the|its)\b",
        '"is explained in", "explains", "describes", "reports"',
        "How it is kept is told in another page, which tells of failures.",
        "Another page explains how it is kept. No worker ends unless it is told to.",
    ),
    Habit(
        r"\bwhat (?:was|is) given\b|\bwhat it (?:has|was)(?=[,.;])|\ball that there (?:is|are)\b"
        r"|\b(?:those|what) that? ?there (?:is|are)\b",
        'a noun, such as "the arguments" or "running jobs"',
        "It finishes what it has, and prints what was given.",
        "It finishes running jobs, and prints the arguments. See what it has done.",
    ),
    Habit(
        r"\bso long\b(?! as\b)|\bmeanwhile\b",
        '"that long", "in the meantime"',
        "Nothing waits so long; meanwhile others run.",
        "Nothing waits that long; other jobs run in the meantime. It runs so long as you like.",
    ),
    Habit(
        r"\b(?:comes|come|came) by\b",
        '"reaches"',
        "It waits until a worker comes by.",
        "It waits until a worker reaches it. The gain comes from batches.",
    ),
    Habit(
        r"\b(?:goes|go|went|gone) on\b",
        '"continues" or "resumes"',
        "The worker goes on with the next job.",
        "The worker continues with the next job.",
    ),
    Habit(
        r"\ball the same\b|\bas (?:it|they) stands?\b|\bas a rule\b|, for one(?=[,.;)])",
        '"anyway", "as is", "usually", "for example"',
        "It runs all the same, and as a rule twice.",
        "It runs anyway, and usually twice. They all have the same id.",
    ),
    Habit(
        r"\bby (?:itself|themselves)\b",
        '"on its own"',
        "An event that was paused by itself stays paused.",
        "An event that was paused on its own stays paused.",
    ),
    Habit(
        r"\bhowever (?:many|often|late|long|much|few|large)\b|\bwhichever\b(?! is\b)"
        r"|\bwhatever it is\b",
        '"no matter how many", "any"',
        "One job, however often you repeat it, whichever worker runs it.",
        "One job, no matter how often. Two keys, or two queues, whichever is more.",
    ),
    Habit(
        r"(?<!there\s)\b(?:is|are|was|were) no "
        r"(?!longer\b|more\b|other\b|one\b|less\b|fewer\b|better\b|different\b)",
        '"is not a ..." or "has no ..."',
        "An entry that is no job is kept.",
        "An entry that is not a job is kept. There is no job, and it is no longer there.",
    ),
    Habit(
        r"\b(?:has|have|had) its way\b|\bobey(?:s|ed)?\b|\basked first\b|\btaken for dead\b"
        r"|\btold apart\b|\btells? \w+ apart\b|\bthere and back\b|\bpaused apart\b",
        "a plain verb",
        "A worker that obeys is asked first; others are taken for dead.",
        "A worker that has paused; others count as dead after a minute.",
    ),
    Habit(
        r"\bstands? for\b|\blooks at\b",
        '"means", "represents", "checks", "reads"',
        "One job stands for all emits, and the relay looks at it.",
        "One job represents all emits, and the relay checks it.",
    ),
    Habit(
        r"\ban? (?:\w+ )?\w+ of (?:its|their) own\b|\bof (?:theirs|ours)\b",
        '"its own", "a separate"',
        "It runs in a process of its own.",
        "It runs in its own process, with the id of its own job.",
    ),
    Habit(
        r"\bnobody knows whether\b|\b(?:its|the|their|whose) data are\b"
        r"|\bwould be one more\b|\bas you said\b",
        '"it is not known whether", "data is", "cannot have another", "as configured"',
        "Nobody knows whether its data are JSON.",
        "It is not known whether its data is JSON. Emits with equal data are one job.",
    ),
)

# Words of the engine, for which the field has others. The glossary explains them.
WORDS = (
    Habit(r"\bstorms?\b", '"burst"', "A storm of emits.", "A burst of emits."),
    Habit(
        r"(?<!dead\s)(?<!dead-)(?<!\d\s)\bletters?\b(?!,? (?:or |and )?(?:a )?digits?\b)",
        '"dead letter"',
        "Its letter is kept.",
        "Its dead letter is kept. A name begins with a letter or a digit.",
    ),
    Habit(
        r"\bsettle[ds]?\b|\bsettling\b",
        '"record the outcome", "finished"',
        "16 jobs were settled.",
        "16 jobs finished.",
    ),
    Habit(
        r"\bfence[ds]?\b",
        '"fencing token", "rejected (lease lost)"',
        "One outcome was fenced.",
        "One outcome was rejected. A fencing token grows.",
    ),
    Habit(r"\bsolo\b", '"alone"', "It runs solo.", "It runs alone."),
    Habit(r"\bhints?\b", '"notification"', "The hint was lost.", "The notification was lost."),
    Habit(r"\bfloors?\b", '"layer"', "Three floors.", "Three layers."),
    Habit(
        r"\b(?:put|puts|putting) (?:\w+ )?(?:off|back)\b|\bhand(?:s|ed|ing)? (?:\w+ )?back\b",
        '"postponed", "returned to the queue"',
        "It was put off, then handed back.",
        "It was postponed, then returned to the queue.",
    ),
    Habit(r"\bbur(?:y|ied|ies)\b", '"becomes a dead letter"', "It is buried.", "It is dead."),
)

# Sentences that a reader stumbled over, in part, with what they mean.
QUOTED = {
    "what is on its way then may be lost": "otherwise jobs still in flight may be lost",
    "or leave async with": "or let `async with tm` exit",
    "It is run again as you said": "It is retried as configured",
    "A Redis to try this on": "No Redis yet?",
    "on a machine that has nothing but Python": "All you need is Python",
    "is one job while it lives": "does not add another job while the first one is live",
    "together with the running one's": "if, and only if, this one completes",
    "A handler that knows better raises": "A handler can decide for itself",
    "which uses no retry": "without using up a retry",
    "all that can be asked of a job": "how to query a job",
    "in which clocks change": "even when the clocks change",
    "once in the whole fleet": "exactly once across all workers",
    "Many emits, one run: with": "Many emits, one run: half a second after the last one",
    "nothing of it starts any more": "no worker starts another job from this queue",
    "a schedule does about missed fires": "how schedules handle missed runs",
    "what each of the others promises": "explains what each of them guarantees",
    "which run as they": "which run as is",
    "what it has not started": "returns jobs it has not started",
    "compares what happened with what Redis holds": "checks every job against Redis",
    "each promise is kept is told": "... is explained in",
    "With all of this on": "With all of these guarantees enabled",
    "ten times what Python's other queues": "10x the fastest other Python queue",
    "usable without the one above": "each can be used without the ones above it",
    "what there is for working on it": "lists the development commands",
    "Limits come next": "Rate and concurrency limits are next",
    "this is asked for on a terminal": "this needs confirmation and stdin is not a terminal",
    "Where Redis is;": "Redis URL",
    "What every key starts with": "Prefix of all Redis keys",
    "Not before then": "Delay before the job may start",
    "Runs after a first one that failed": "Maximum number of retries",
    "for 24 h after its end": "until 24 h after it ends",
    "Take a pause back": "Resume a paused queue or event",
    "letters that there are now": "All current dead letters",
    "a job is dead": "job failed permanently",
    "the event loop has not turned": "event loop blocked for 1.0 s by ...",
    "hints from": "lost the notification connection to Redis",
    "Of a job that has ended that is its end": "For a finished job, only its result is shown",
    "comes back while workers with": "A handler's schedule is registered again by its workers",
    "came so far as to": "a worker that never starts fetching",
    "wins over what the app says": "overrides the app, which overrides the environment",
    "Who is first emits": "The first worker emits the job and advances the schedule",
    "code that is gone": "belongs to code that no longer exists",
    "workers register theirs again": "workers register their schedules again",
    "only whoever put it there": "must be removed by whoever put it there",
    "but late it may be": "never early, but possibly late",
    "is live under another key or none, its job": "if that id is already live under another key",
    "until that is made up for": "until this is corrected",
    "may count as run": "may be treated as already run",
    "A handle means its own run": "A handle refers to one run",
    "so that who waits for one": "so anyone waiting for one",
    "which the default one never is": "the default lane is never removed",
    "costs here more than there is": "a single emit costs more here",
    "at any violation": "exits with 1 on any violation",
    "is no proof and ends with": "proves nothing and exits with 1",
    "a shorter one says so only": "a shorter run only says so",
    "Which faults excuse what": "defines which faults excuse which violations",
    "with more than eight of them": "with more than eight such threads",
    "is the one that is running": "is running right now",
    "nothing was stored) (": "one parenthesis",
}
