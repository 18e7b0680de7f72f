"""redis-py's connections, to the addresses that our own resolver finds."""

from __future__ import annotations

import ipaddress
import os
import ssl
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection

from consumers.connections.resolver import resolver


class _ByName:
    """Connects to the addresses of its host in their order, until one takes the connection.

    The host is asked for anew each time: it may have moved. A certificate is still
    checked against the host.
    """

    host: str
    socket_type: int
    socket_connect_timeout: float | None
    _address: str | None = None

    async def _connect(self) -> None:
        errors: list[OSError] = []
        for address in await self._addresses():
            self._address = address
            try:
                await super()._connect()  # type: ignore[misc]
                return
            except OSError as error:
                errors.append(error)
        raise _one(errors)

    async def _addresses(self) -> list[str]:
        if _is_address(self.host):
            return [self.host]
        found = await resolver.addresses(self.host, self.socket_type)
        if self.socket_connect_timeout is not None:
            # One that is silent must leave time for the others.
            self.socket_connect_timeout /= len(found)
        return found

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = {**super()._connection_arguments(), "host": self._address}  # type: ignore[misc]
        return arguments | ({"server_hostname": self.host} if "ssl" in arguments else {})


class TcpConnection(_ByName, Connection):
    """A plain connection."""


class TlsConnection(_ByName, SSLConnection):
    """A connection over TLS."""


def _one(errors: list[OSError]) -> OSError:
    """Return one error for all addresses: the first one, unless the reasons differ."""
    reasons = dict.fromkeys(map(_reason, errors))
    return errors[0] if len(reasons) == 1 else OSError(", ".join(reasons))


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) or not error.errno:
        return str(error) or "no answer"
    return os.strerror(error.errno).lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
