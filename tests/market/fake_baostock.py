"""A local server that speaks baostock's protocol and serves a small market.

A message is a header (version, type and ten digits of body length, split by \\1), the body's
parts split by \\1, and the CRC of both. Answers end in ``<![CDATA[]]>`` and a line feed; those
of daily bars carry a zlib body, whose length the header then gives.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from tests.market.served_market import ServedMarket

__all__ = ["FakeBaostock"]

SPLIT = "\1"
END = b"<![CDATA[]]>\n"
_POOLS = {"61": "000300.SH", "65": "000905.SH"}
_OF_INDEX = {"sh.000300": "000300.SH", "sh.000905": "000905.SH", "sh.000852": "000852.SH"}


class FakeBaostock:
    """The server; use it as a context.

    Parameters
    ----------
    market : ServedMarket

    Attributes
    ----------
    asked : list of list of str
        The body of every message.
    faults : list of (str, str, str)
        Query, a text that some part must equal (or '' for any), and the fault; each is used once.
    before : callable
        Called before each answer.
    """

    def __init__(self, market: ServedMarket) -> None:
        self.market = market
        self.asked: list[list[str]] = []
        self.faults: list[tuple[str, str, str]] = []
        self.before: Callable[[], None] = lambda: None
        self.stall = 2.0
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while line := self.rfile.readline():
                        answer = fake.answer(line)
                        if not answer:
                            return
                        self.wfile.write(answer)
                        if not answer.endswith(END):
                            return
                except OSError:
                    return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeBaostock:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def queries(self, name: str) -> list[list[str]]:
        """Return the messages of one query."""
        return [parts for parts in self.asked if parts[0] == name]

    def answer(self, line: bytes) -> bytes:
        """Return the answer to one message, or what a fault leaves of it."""
        text = line.decode().removesuffix("\n")
        framed, _, crc = text.rpartition(SPLIT)
        assert zlib.crc32(framed.encode()) == int(crc), "the CRC of a question is wrong"
        version, kind, length = framed[:21].split(SPLIT)
        body = framed[21:]
        assert len(body) == int(length), "the length of a question is wrong"
        parts = body.split(SPLIT)
        self.before()
        self.asked.append(parts)
        fault = self._fault(parts)
        if fault == "stall":
            time.sleep(self.stall)
        if fault == "cut":
            return self._framed(version, kind, self._parts(kind, parts, ""))[:40]
        if fault == "gone":
            return b""
        if fault.startswith("error"):
            return self._framed(version, kind, [fault.split()[1], "refused", parts[0], "anonymous"])
        return self._framed(version, kind, self._parts(kind, parts, fault))

    def _fault(self, parts: list[str]) -> str:
        for k, (query, place, fault) in enumerate(self.faults):
            if query == parts[0] and (not place or place in parts):
                del self.faults[k]
                return fault
        return ""

    def _framed(self, version: str, kind: str, parts: list[str]) -> bytes:
        body = SPLIT.join(parts)
        back = f"{int(kind) + 1:02d}"
        if back == "96":
            packed = zlib.compress((body + "\n").encode())
            head = f"{version}{SPLIT}{back}{SPLIT}{len(packed):010d}".encode()
            return head + packed + f"{SPLIT}{zlib.crc32(head + packed)}".encode() + END
        head = f"{version}{SPLIT}{back}{SPLIT}{len(body):010d}"
        return f"{head}{body}{SPLIT}{zlib.crc32((head + body).encode())}".encode() + END

    def _parts(self, kind: str, parts: list[str], fault: str) -> list[str]:
        head = ["0", "success", parts[0], "anonymous"]
        if kind == "00":
            return head
        if kind == "02":
            return [*head, "0"]
        page, size, rest = int(parts[2]), int(parts[3]), parts[4:]
        rows = self._rows(kind, rest).astype(str)
        if fault == "twice":
            rows = pd.concat([rows, rows.iloc[[0]]])
        if fault == "wrong type":
            rows.iloc[0, list(rows.columns).index("close")] = "eleven"
        if fault == "adjusted":
            rows["adjustflag"] = "2"
        record = rows.iloc[(page - 1) * size : page * size].to_numpy().tolist()
        text = json.dumps({"record": record})
        if fault == "half a page":
            text = text[: len(text) // 2]
        fields = ", ".join(rows.columns)
        if kind == "95":
            code, _, start, end, often, flag = rest
            return [*head, str(page), str(size), text, code, fields, start, end, often, flag]
        return [*head, str(page), str(size), text, *rest, fields]

    def _rows(self, kind: str, rest: list[str]) -> pd.DataFrame:
        market = self.market
        if kind == "33":
            first = max(pd.Timestamp(rest[0]), market.calendar[0])
            days = pd.date_range(first, min(pd.Timestamp(rest[1]), market.sessions[-1]))
            on = days.isin(market.calendar).astype(int)
            return pd.DataFrame({"calendar_date": _texts(days), "is_trading_day": on})
        if kind == "45":
            stocks = market.stocks
            rows = pd.DataFrame(
                {
                    "code": [_code(c) for c in stocks["ts_code"]],
                    "code_name": stocks["name"],
                    "ipoDate": _texts(stocks["list_date"]),
                    "outDate": _texts(stocks["delist_date"]),
                    "type": "1",
                    "status": stocks["delist_date"].isna().astype(int).astype(str),
                }
            )
            index = ["sh.000300", "沪深300", "2005-04-08", "", "2", "1"]
            return pd.concat([rows, pd.DataFrame([index], columns=rows.columns)])
        if kind in _POOLS:
            now = market.members_on(_POOLS[kind], pd.Timestamp(rest[0]))
            codes = [_code(c) for c in now]
            return pd.DataFrame({"updateDate": rest[0], "code": codes, "code_name": "名"})
        assert kind == "95", kind
        code, fields, start, end = rest[:4]
        rows = self._levels(code) if code in _OF_INDEX else self._bars(code)
        keep = (rows["date"] >= start) & (rows["date"] <= end)
        return rows.loc[keep, fields.split(",")]

    def _levels(self, code: str) -> pd.DataFrame:
        rows = self.market.levels
        rows = rows[rows["index_code"] == _OF_INDEX[code]]
        close = rows["close"].map("{:.4f}".format)
        return pd.DataFrame({"date": _texts(rows["trade_date"]), "close": close})

    def _bars(self, code: str) -> pd.DataFrame:
        """Return every session of a stock's listing; suspended ones stand still."""
        market = self.market
        empty = pd.DataFrame({"date": pd.Series(dtype=str)})
        ours = f"{code[3:]}.{code[:2].upper()}"
        stock = market.stocks[market.stocks["ts_code"] == ours]
        if stock.empty:
            names = "open high low close preclose volume amount adjustflag tradestatus isST"
            return empty.reindex(columns=["date", *names.split()])
        bars = market.bars[market.bars["ts_code"] == ours].set_index("trade_date")
        listed, gone = stock["list_date"].iloc[0], stock["delist_date"].iloc[0]
        days = market.sessions[market.sessions >= bars.index[0]]
        if pd.notna(listed):
            days = days[days >= listed]
        if pd.notna(gone):
            days = days[days < gone]
        rows = bars.reindex(days)
        on = rows["close"].notna()
        last = rows["close"].ffill()
        out = pd.DataFrame({"date": _texts(pd.Series(days))})
        for name, theirs in {"pre_close": "preclose", **{n: n for n in _OHLC}}.items():
            values = rows[name].where(on, last)
            out[theirs] = values.map("{:.4f}".format).replace("nan", "").to_numpy()
        out["volume"] = rows["volume"].fillna(0).astype(np.int64).to_numpy()
        out["amount"] = rows["amount"].fillna(0).map("{:.4f}".format).to_numpy()
        out["adjustflag"] = "3"
        out["tradestatus"] = on.astype(int).to_numpy()
        out["isST"] = market.is_st(ours, pd.Series(days)).astype(int)
        return out


_OHLC = ("open", "high", "low", "close")


def _code(code: str) -> str:
    return f"{code[-2:].lower()}.{code[:6]}"


def _texts(days: object) -> np.ndarray:
    """Return dates as baostock writes them, empty where there is none."""
    text = pd.Series(days).dt.strftime("%Y-%m-%d").astype(object)
    return text.where(text.notna(), "").to_numpy()
