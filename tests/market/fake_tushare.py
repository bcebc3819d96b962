"""A local server that speaks Tushare Pro's protocol and serves a small market.

HTTP POST of ``{api_name, token, params, fields}``; the answer is ``{code, msg, data: {fields,
items}}``. Faults are planned by endpoint and place: the first calls that fit get them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pandas as pd

from tests.market.served_market import ServedMarket

__all__ = ["FakeTushare"]

NO_RIGHT = (
    "抱歉，您没有访问该接口的权限，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。"
)
A_MINUTE = "抱歉，您每分钟最多访问该接口200次，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。"
A_DAY = "抱歉，您每天最多访问该接口100次，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。"


class FakeTushare:
    """The server; use it as a context.

    Parameters
    ----------
    market : ServedMarket
    token : str
        The only token that is let in.
    most : int
        Rows of one answer at most, whatever `limit` asks for.

    Attributes
    ----------
    asked : list of (str, dict)
        Endpoint and parameters of every call.
    faults : list of (str, str, str)
        Endpoint, a text that some parameter must equal (or '' for any), and the fault; each is
        used once.
    denied : set of str
        Endpoints without a right to them.
    unknown : set of str
        Indices whose weights are not there; those of 000300.SH also stand under 399300.SZ.
    before : callable, optional
        Called before each answer.
    """

    def __init__(self, market: ServedMarket, token: str, most: int = 10_000) -> None:
        self.market = market
        self.token = token
        self.most = most
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[tuple[str, str, str]] = []
        self.denied: set[str] = set()
        self.unknown: set[str] = set()
        self.before: Callable[[], None] = lambda: None
        self.stall = 2.0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                fake.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Stay silent when a killed client goes away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/dataapi"

    def __enter__(self) -> FakeTushare:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def calls_of(self, endpoint: str) -> int:
        """Return how often an endpoint was asked."""
        return sum(name == endpoint for name, _ in self.asked)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one call, or fail as planned."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        name, params = body["api_name"], body["params"]
        assert handler.path == f"/dataapi/{name}"
        self.before()
        self.asked.append((name, params))
        fault = self._fault(name, params)
        if body["token"] != self.token:
            self._send(handler, {"code": 40101, "msg": "您的token不对，请确认。", "data": None})
        elif name in self.denied:
            self._send(handler, {"code": 40203, "msg": NO_RIGHT, "data": None})
        elif fault == "429":
            handler.send_response(429)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif fault in ("minute", "day", "token in words"):
            words = f"系统忙 {body['token']}"
            said = {"minute": A_MINUTE, "day": A_DAY}.get(fault, words)
            self._send(handler, {"code": 40203, "msg": said, "data": None})
        else:
            rows = self._rows(name, params)
            self._send(handler, self._data(rows, body["fields"], params, fault), fault)

    def _fault(self, name: str, params: dict[str, Any]) -> str:
        for k, (endpoint, place, fault) in enumerate(self.faults):
            if endpoint == name and (not place or place in map(str, params.values())):
                del self.faults[k]
                return fault
        return ""

    def _data(
        self, rows: pd.DataFrame, fields: str, params: dict[str, Any], fault: str
    ) -> dict[str, Any]:
        rows = rows[fields.split(",")] if fields else rows
        if fault == "twice":
            rows = pd.concat([rows, rows.iloc[[0]]])
        if fault == "twice and different":
            other = rows.iloc[[0]].copy()
            other["close"] = other["close"] + 1
            rows = pd.concat([rows, other])
        if fault == "rows missing":
            rows = rows.iloc[:-3]
        if fault == "empty":
            rows = rows.iloc[:0]
        offset = int(params.get("offset", 0))
        page = rows.iloc[offset : offset + min(int(params.get("limit", self.most)), self.most)]
        page = page.astype(object).where(page.notna(), None)
        items = page.to_numpy().tolist()
        if fault == "wrong type":
            items[0][list(rows.columns).index("close")] = "eleven"
        data: Any = {"fields": list(rows.columns), "items": items, "has_more": False}
        if fault == "no table":
            data = "rows"
        return {"request_id": "1", "code": 0, "msg": "", "data": data}

    def _send(self, handler: BaseHTTPRequestHandler, answer: Any, fault: str = "") -> None:
        text = json.dumps(answer).encode()
        if fault == "stall":
            time.sleep(self.stall)
        if fault == "half a text":
            text = text[: len(text) // 2]
        try:
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json; charset=utf-8")
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            cut = fault == "cut"
            handler.wfile.write(text[: len(text) // 2] if cut else text)
            handler.wfile.flush()
            handler.close_connection = handler.close_connection or cut
        except OSError:
            handler.close_connection = True

    # What each endpoint serves.

    def _rows(self, name: str, params: dict[str, Any]) -> pd.DataFrame:
        market = self.market
        day = pd.Timestamp(params["trade_date"]) if "trade_date" in params else None
        if name == "trade_cal":
            rows = pd.DataFrame({"cal_date": _texts(market.calendar), "is_open": 1})
            return self._between(rows, "cal_date", params)
        if name == "stock_basic":
            gone = market.stocks["delist_date"].notna()
            of = {"L": ~gone, "D": gone, "P": gone & False}[params["list_status"]]
            rows = market.stocks[of].copy()
            for column in ("list_date", "delist_date"):
                rows[column] = _texts(rows[column])
            return rows
        if name == "daily":
            rows = market.bars[market.bars["trade_date"] == day].copy()
            rows["vol"], rows["amount"] = rows["volume"] / 100, rows["amount"] / 1000
            rows["trade_date"] = _texts(rows["trade_date"])
            return rows
        if name == "daily_basic":
            rows = market.shares[market.shares["date"] <= day]
            rows = rows.drop_duplicates("ts_code", keep="last")
            return rows.assign(trade_date=params["trade_date"])
        if name == "suspend_d":
            stocks = market.stocks
            begun = stocks["list_date"].isna() | (stocks["list_date"] <= day)
            on = begun & ~(stocks["delist_date"] <= day)
            traded = market.bars["ts_code"][market.bars["trade_date"] == day]
            rows = stocks[on & ~stocks["ts_code"].isin(traded)]
            assert params["suspend_type"] == "S"
            return rows.assign(trade_date=params["trade_date"], suspend_type="S")
        if name == "stk_limit":
            rows = market.bars[market.bars["trade_date"] == day]
            up = (rows["pre_close"] * 1.1 + 1e-9).round(2)
            rows = rows.assign(up_limit=up, down_limit=(rows["pre_close"] * 0.9 + 1e-9).round(2))
            fund = {"ts_code": "510300.SH", "up_limit": 5.0, "down_limit": 4.0}
            rows = pd.concat([rows, pd.DataFrame([fund])])
            return rows.assign(trade_date=params["trade_date"])
        if name == "index_daily":
            rows = market.levels[market.levels["index_code"] == params["ts_code"]]
            rows = rows.rename(columns={"index_code": "ts_code"})
            rows["trade_date"] = _texts(rows["trade_date"])
            return self._between(rows, "trade_date", params)
        if name == "index_weight":
            return self._between(self._weights(params["index_code"]), "trade_date", params)
        if name == "namechange":
            return self._names()
        assert name == "index_member_all", name
        rows = market.industry.rename(
            columns={"sw_l1_name": "l1_name", "start_date": "in_date", "end_date": "out_date"}
        )
        new = rows["out_date"].isna()
        rows = rows[new if params["is_new"] == "Y" else ~new].copy()
        for column in ("in_date", "out_date"):
            rows[column] = _texts(rows[column])
        return rows

    def _between(self, rows: pd.DataFrame, column: str, params: dict[str, Any]) -> pd.DataFrame:
        return rows[(rows[column] >= params["start_date"]) & (rows[column] <= params["end_date"])]

    def _weights(self, index: str) -> pd.DataFrame:
        """Return a snapshot of every session on which the members change."""
        parts, last = [], None
        if index in self.unknown:
            return pd.DataFrame(columns=["index_code", "con_code", "trade_date", "weight"])
        index = {"399300.SZ": "000300.SH"}.get(index, index)
        for day in self.market.sessions:
            now = self.market.members_on(index, day)
            if now != last:
                when = f"{day:%Y%m%d}"
                part = {"index_code": index, "con_code": now, "trade_date": when}
                part["weight"] = 100 / len(now)
                parts.append(pd.DataFrame(part))
            last = now
        return pd.concat(parts)

    def _names(self) -> pd.DataFrame:
        rows = []
        for stock in self.market.stocks.itertuples():
            known = pd.notna(stock.list_date)
            start = stock.list_date if known else pd.Timestamp("2000-01-01")
            for flag in self.market.st[self.market.st["ts_code"] == stock.ts_code].itertuples():
                after = flag.end_date + pd.Timedelta(days=1)
                before = flag.start_date - pd.Timedelta(days=1)
                rows.append((stock.ts_code, stock.name, start, before))
                rows.append((stock.ts_code, "*ST" + stock.name, flag.start_date, flag.end_date))
                start = after
            rows.append((stock.ts_code, stock.name, start, pd.NaT))
        out = pd.DataFrame(rows, columns=["ts_code", "name", "start_date", "end_date"])
        for column in ("start_date", "end_date"):
            out[column] = _texts(pd.to_datetime(out[column]))
        return out.sample(frac=1.0, random_state=0)


def _texts(days: Any) -> Any:
    """Return dates as Tushare writes them, None where there is none."""
    text = pd.Series(days).dt.strftime("%Y%m%d")
    return text.where(text.notna(), None).to_numpy()
