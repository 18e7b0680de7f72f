"""The two formats of the log: lines for people and JSON for machines.

What a record carries in ``extra`` is shown as fields, behind the sentence.
Nothing else sets up logging; a program that embeds the task manager keeps
its own configuration, but for loggers of ours that it disables in passing.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any, Literal

from consumers.jobs.texts import ERROR_LIMIT, describe, shown, within
from taskmanager.escapes import escaped, escaped_json, escaped_lines

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

# Every logger of ours is below this one.
_OURS = "taskmanager"
# Of a field that no format can show as it is, in characters.
_FIELD_LIMIT = 2 * 1024
# What every record has; everything else came with extra={...}.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(
    format: LogFormat = "console", *, level: LogLevel = "info", stream: IO[str] | None = None
) -> None:
    """Send the log of the whole process to stream (default stderr), replacing what was set up.

    INFO and above are written; level is for our own loggers alone.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_FORMATTERS[format]())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger(_OURS).setLevel(level.upper())
    # The names of every selector and every closed transport help nobody, and a reload says
    # itself what has changed.
    for name in ("asyncio", "watchfiles"):
        hush(name)
    logging.captureWarnings(True)


def unmute() -> None:
    """Enable every logger of ours that was disabled.

    logging.config disables all that are there and that it does not name, unless it is
    asked not to; hardly anybody who leaves that at its default means a worker's. Levels
    and handlers are left as they are.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == _OURS:
            logger.disabled = False


def hush(name: str, level: int = logging.WARNING) -> None:
    """Have a logger that is not ours write no lines below a level, unless it has one of its own."""
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the record carries beside its sentence."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class ConsoleFormatter(logging.Formatter):
    """``12:30:01.250 WARNING taskmanager.worker  the sentence  job=7 queue=mail``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it, indented: none of it passes for a line."""
        below = [escaped_lines(text, "  ") for text in _traceback(self, record)]
        return "\n".join([escaped(self._line(record)), *below])

    def _line(self, record: logging.LogRecord) -> str:
        at = self.formatTime(record, "%H:%M:%S")
        head = f"{at}.{int(record.msecs):03} {record.levelname:<7} {record.name}"
        tail = [f"{name}={_text(value)}" for name, value in fields(record).items()]
        return "  ".join(
            [head, record.getMessage().rstrip("\n"), *([" ".join(tail)] if tail else [])]
        )


class JsonFormatter(logging.Formatter):
    """One object a line: at (ISO-8601, UTC), level, logger, message, pid, the fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        entry = fields(record) | {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if lines := _traceback(self, record):
            entry["traceback"] = "\n".join(lines)
        return escaped_json(_json(entry))


def _json(entry: dict[str, Any]) -> str:
    """Return an object's JSON; of a field that has none, how it presents itself."""
    try:
        return _dumps(entry)
    except Exception:
        # A field may hold anything: a cycle, a key that is no text. No line is lost for that.
        return _dumps({_text(name): _dumpable(value) for name, value in entry.items()})


def _dumpable(value: Any) -> Any:
    try:
        _dumps(value)
    except Exception:
        return shown(value, _FIELD_LIMIT)
    return value


def _dumps(value: Any) -> str:
    return json.dumps(value, default=_text, ensure_ascii=False, allow_nan=False)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return shown(value, _FIELD_LIMIT)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """Return what stands below the line, each text in at most 16 KiB: escaping takes its time."""
    texts = []
    if record.exc_info:
        texts.append(_formatted(formatter, record.exc_info))
    elif record.exc_text:
        texts.append(record.exc_text)
    if record.stack_info:
        texts.append(formatter.formatStack(record.stack_info))
    return [within(text, ERROR_LIMIT) for text in texts]


def _formatted(formatter: logging.Formatter, info: Any) -> str:
    try:
        return formatter.formatException(info)
    except Exception:
        # An exception class may break its own formatting.
        return describe(info[1])


_FORMATTERS: dict[LogFormat, type[logging.Formatter]] = {
    "console": ConsoleFormatter,
    "json": JsonFormatter,
}
