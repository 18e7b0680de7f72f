"""The two formats of the log: lines for people and JSON for machines.

Whatever a record has in `extra` is shown as fields after the sentence. Nothing else sets up
logging. A program that embeds the task manager keeps its own configuration, except that our loggers
are enabled again if it disabled them in passing.
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

# All our loggers are below this one.
_OURS = "taskmanager"
# Characters of a field that no format can show as it is.
_FIELD_LIMIT = 2 * 1024
# The attributes of every record; all others came with extra={...}.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(
    format: LogFormat = "console", *, level: LogLevel = "info", stream: IO[str] | None = None
) -> None:
    """Send the log of the whole process to `stream` (default stderr), replacing earlier set-up.

    INFO and above are written. `level` is for our own loggers only.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_FORMATTERS[format]())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger(_OURS).setLevel(level.upper())
    # Names of selectors and closed transports help no one, and a reload reports on its own
    # what has changed.
    for name in ("asyncio", "watchfiles"):
        hush(name)
    logging.captureWarnings(True)


def unmute() -> None:
    """Enable each of our loggers that was disabled.

    By default, logging.config disables all existing loggers that it does not name. Hardly anyone
    who leaves that default means the loggers of a worker. Levels and handlers stay.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == _OURS:
            logger.disabled = False


def hush(name: str, level: int = logging.WARNING) -> None:
    """Silence another package's logger below a level, unless it has a level already."""
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the record carries besides its sentence."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class ConsoleFormatter(logging.Formatter):
    """Formats `12:30:01.250 WARNING taskmanager.worker  the sentence  job=7 queue=mail`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback indented below it, so that each is one entry."""
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
    """Formats one object per line: at (ISO-8601, UTC), level, logger, message, pid, the fields.

    An error adds its traceback.
    """

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
    """Return an object as JSON; a field without a JSON form is shown as its repr."""
    try:
        return _dumps(entry)
    except Exception:
        # A field may hold anything: a cycle, a key that is not text. No line is lost for that.
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
    """Return what follows the line, each text at most 16 KiB, since escaping takes time."""
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
