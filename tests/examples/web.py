"""A web server under test, asked over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

# Seconds. A process that starts beside others at work takes its time to answer.
_WITHIN = 60.0


@dataclass(frozen=True)
class Answer:
    """What a server answered; a redirect is not followed."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        """The text, read as JSON."""
        return json.loads(self.text)


class Client:
    """Asks one server, with a connection for each request."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def is_answered(self) -> bool:
        """Return whether anybody listens."""
        try:
            self.get("/")
        except ConnectionRefusedError:
            return False
        return True

    def get(self, path: str) -> Answer:
        """Ask for a path, or for a URL of this server."""
        return self.ask("GET", path)

    def post_json(self, path: str, value: object) -> Answer:
        """Post a value as JSON."""
        return self.ask("POST", path, json.dumps(value), "application/json")

    def post_form(self, path: str, **fields: object) -> Answer:
        """Post a form."""
        return self.ask("POST", path, urlencode(fields), "application/x-www-form-urlencoded")

    def delete(self, path: str) -> Answer:
        """Delete a path."""
        return self.ask("DELETE", path)

    def ask(self, method: str, path: str, body: str = "", kind: str = "") -> Answer:
        """Send one request and return the answer, whatever its status."""
        headers = {"Content-Type": kind} if kind else {}
        # A server may have answered with a whole URL of its own.
        parts = urlsplit(path)
        path = urlunsplit(("", "", *parts[2:]))
        connection = http.client.HTTPConnection(self._address, timeout=_WITHIN)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        return Answer(answer.status, answer.headers, text)
