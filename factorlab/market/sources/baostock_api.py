"""baostock's queries through its own client, over a connection that ends when the server does.

The client loops for ever on a cut connection, waits for ever for a silent server, takes a page
that did not arrive for the end of an answer, and prints what went wrong. Its socket is replaced
by one that raises, and its output is kept for the error.
"""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pandas as pd

from factorlab.errors import ConfigError, DataError
from factorlab.market.sources.fetching import Calls, Transient

__all__ = ["BaostockApi"]

T = TypeVar("T")
# The client's codes: a session that ended; network, parsing and the server's own troubles.
_ENDED = ("10001001",)
_PASSING = ("10002", "10004001", "10004002", "10004003", "10005")
_BLOCKED = "10001011"


class _Line:
    """A connection with a time limit on each answer, in the shape of a socket.

    Parameters
    ----------
    connected : socket.socket
    timeout : float
        Seconds from a question to the end of its answer.
    """

    def __init__(self, connected: socket.socket, timeout: float) -> None:
        self._socket = connected
        self._timeout = timeout
        self._until = 0.0
        self.trouble = ""

    def send(self, message: bytes) -> int:
        """Send all of a question."""
        self._until = time.monotonic() + self._timeout
        self._socket.settimeout(self._timeout)
        try:
            self._socket.sendall(message)
        except OSError:
            self.trouble = "a cut connection"
            raise
        return len(message)

    def recv(self, size: int) -> bytes:
        """Return a part of the answer; raise where none comes any more."""
        left = self._until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            part = self._socket.recv(size)
        except TimeoutError:
            self.trouble = f"no answer within {self._timeout:g} s"
            raise
        except OSError:
            self.trouble = "a cut connection"
            raise
        if not part:
            self.trouble = "a cut connection"
            raise ConnectionError(self.trouble)
        return part

    def close(self) -> None:
        self._socket.close()


class BaostockApi:
    """Queries of a market, logged in when the first is asked.

    Parameters
    ----------
    calls : Calls
    timeout : float
        Seconds from a question to the end of its answer.
    server : str, optional
        ``HOST:PORT``; else the client's own.

    Raises
    ------
    ConfigError
        If the client is not installed, or `server` is written otherwise.
    """

    def __init__(self, calls: Calls, timeout: float, server: str | None) -> None:
        try:
            import baostock
            from baostock.common import contants, context
            from baostock.util.socketutil import SocketUtil
        except ImportError as error:
            raise ConfigError(
                f"`baostock` must be installed to fetch from it; got no module {error.name!r}; run"
                ' pip install "factorlab[baostock]"'
            ) from None
        self._client, self._context, self._util = baostock, context, SocketUtil
        self._page = lambda: contants.BAOSTOCK_PER_PAGE_COUNT
        host, _, port = (server or "").rpartition(":")
        if server and not (host and port.isdigit()):
            raise ConfigError(
                f"`FACTORLAB_BAOSTOCK_SERVER` must be HOST:PORT; got {server!r}; write it so"
            )
        own = (contants.BAOSTOCK_SERVER_IP, contants.BAOSTOCK_SERVER_PORT)
        self._server = (host, int(port)) if server else own
        self._calls = calls
        self._timeout = timeout
        self._line: _Line | None = None

    def ask(self, query: str, place: str, check: Callable[[pd.DataFrame], T], **params: str) -> T:
        """Return what `check` makes of all rows of an answer, every value being text.

        Parameters
        ----------
        query : str
            A function of the client, such as ``query_trade_dates``.
        place : str
            What an error names.
        check : callable
            Raises `Transient` where the rows cannot be right.
        **params : str

        Raises
        ------
        DataError
            If the answer stays broken, or the server refuses it.
        """
        return self._calls(query, lambda: check(self._rows(query, params)), place)

    def close(self) -> None:
        """End the connection; the next query opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None
            self._context.default_socket = None

    def _rows(self, query: str, params: dict[str, str]) -> pd.DataFrame:
        # The client prints its troubles.
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                if self._line is None:
                    self._login()
                result = getattr(self._client, query)(**params)
                rows = []
                while result.error_code == "0" and result.next():
                    rows.append(result.get_row_data())
                self._check(result.error_code, str(result.error_msg))
                if len(result.data) == self._page():
                    # The next page was asked for and did not arrive: the client says nothing.
                    raise Transient("an answer cut short after a whole page")
                return pd.DataFrame(rows, columns=result.fields)
            except Transient as error:
                trouble = self._line.trouble if self._line else ""
                self.close()
                raise Transient(trouble or str(error)) from None
            except OSError:
                self.close()
                raise Transient("no connection") from None
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                self.close()
                raise Transient("a malformed answer") from None

    def _login(self) -> None:
        connected = socket.create_connection(self._server, timeout=self._timeout)
        self._line = line = _Line(connected, self._timeout)

        def connect(_: str) -> None:
            self._context.default_socket = line

        # The one place where the client makes its socket; an attribute of its only instance.
        util = self._util()
        util.connect = connect
        try:
            result = self._client.login()
        finally:
            del util.connect
        self._check(result.error_code, str(result.error_msg))

    def _check(self, code: str, said: str) -> None:
        if code == "0":
            return
        if code in _ENDED or code.startswith(_PASSING):
            raise Transient(f"the server's error {code} {said}")
        cure = (
            "the server blocks this address for now: run the same command again tomorrow, what was"
            " fetched is kept"
            if code == _BLOCKED
            else "check the span and the client's version"
        )
        raise DataError(f"`baostock` must answer; got the error {code} {said}; {cure}")
