"""Tushare Pro's endpoints through its own client: what is asked, and what its words mean."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from factorlab.errors import ConfigError, DataError
from factorlab.market.sources.fetching import (
    Calls,
    NoRight,
    Throttled,
    Transient,
    distinct_rows,
    shaped,
)

__all__ = ["FIELDS", "TushareApi"]

_BAR = dict.fromkeys(("open", "high", "low", "close"), "number")
_CODE_DAY = {"ts_code": "text", "trade_date": "day"}

# Endpoint -> its columns, what tells a row from the others, and the most rows of one answer.
FIELDS: dict[str, dict[str, str]] = {
    "trade_cal": {"cal_date": "day", "is_open": "number"},
    "stock_basic": {"ts_code": "text", "list_date": "day?", "delist_date": "day?"},
    "daily": _CODE_DAY | _BAR | {"pre_close": "number?", "vol": "number?", "amount": "number?"},
    "daily_basic": _CODE_DAY | {"total_share": "number?", "float_share": "number?"},
    "suspend_d": _CODE_DAY | {"suspend_type": "text"},
    "stk_limit": _CODE_DAY | {"up_limit": "number?", "down_limit": "number?"},
    "index_daily": _CODE_DAY | {"close": "number"},
    "index_weight": {
        "index_code": "text",
        "con_code": "text",
        "trade_date": "day",
        "weight": "number?",
    },
    "namechange": {"ts_code": "text", "name": "text", "start_date": "day", "end_date": "day?"},
    "index_member_all": {
        "ts_code": "text",
        "l1_name": "text",
        "in_date": "day",
        "out_date": "day?",
    },
}
_KEYS = {
    "trade_cal": ("cal_date",),
    "stock_basic": ("ts_code",),
    "index_weight": ("con_code", "trade_date"),
    "namechange": ("ts_code", "name", "start_date", "end_date"),
    "index_member_all": ("ts_code", "l1_name", "in_date", "out_date"),
}
_MOST = {"daily": 6000, "daily_basic": 6000, "stk_limit": 5800, "index_daily": 8000}


class TushareApi:
    """The endpoints that a market is made of.

    Parameters
    ----------
    token : str
        Goes to the server and nowhere else.
    calls : Calls
    timeout : float
        Seconds without a byte after which a call is tried again.
    url : str, optional
        Another server than the client's own.

    Raises
    ------
    ConfigError
        If the client is not installed.
    """

    def __init__(self, token: str, calls: Calls, timeout: float, url: str | None) -> None:
        self._token = token
        self._calls = calls
        self._timeout = timeout
        self._api = _client(token, timeout, url)

    def rows(
        self,
        endpoint: str,
        params: Mapping[str, str],
        place: str,
        check: Callable[[pa.Table], None] | None = None,
    ) -> tuple[pa.Table, int]:
        """Return all rows of an answer, and how many repeated another.

        Parameters
        ----------
        endpoint : str
            A key of `FIELDS`.
        params : mapping of str to str
        place : str
            What an error names.
        check : callable, optional
            Raises `Transient` where the rows cannot be all.

        Raises
        ------
        DataError
            If the answer stays broken.
        NoRight
            If the token has no right to the endpoint.
        """

        def whole() -> tuple[pa.Table, int]:
            table, repeated = self._rows(endpoint, params)
            if check is not None:
                check(table)
            return table, repeated

        return self._calls(endpoint, whole, place)

    def _rows(self, endpoint: str, params: Mapping[str, str]) -> tuple[pa.Table, int]:
        """Return all rows of an answer, part after part, and how many stood twice."""
        kinds, most = FIELDS[endpoint], _MOST.get(endpoint, 2000)
        parts: list[pa.Table] = []
        while not parts or len(parts[-1]) == most:
            answer = self._query(endpoint, limit=most, offset=most * len(parts), **params)
            parts.append(shaped(answer, kinds, "ts_code"))
        return distinct_rows(pa.concat_tables(parts), _KEYS.get(endpoint, tuple(_CODE_DAY)))

    def _query(self, endpoint: str, **params: Any) -> pd.DataFrame:
        import requests

        try:
            answer = self._api.query(endpoint, fields=",".join(FIELDS[endpoint]), **params)
        except requests.Timeout:
            raise Transient(f"no answer within {self._timeout:g} s") from None
        except requests.RequestException:
            raise Transient("a cut connection") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Transient("a malformed answer") from None
        except Exception as error:  # noqa: BLE001 - the client raises no other class
            raise self._refusal(str(error)) from None
        if not len(answer.columns):
            # The client gives an empty table for any HTTP status from 400 on.
            raise Throttled("an HTTP error such as 429, too many requests")
        return answer

    def _refusal(self, said: str) -> Exception:
        """Return what the service's own words mean; the token never passes through."""
        said = " ".join(said.replace(self._token, "***").split())[:120]
        if re.search("没有.*权限", said):
            return NoRight(said)
        if re.search("每分钟.*访问", said):
            return Throttled(said, wait=61.0)
        if re.search("每(小时|天|日).*访问", said):
            return DataError(
                f"`tushare` must be asked within the account's limits; got {said!r}; run the same"
                " command again once it is lifted: what was fetched is kept"
            )
        if "token" in said.lower():
            return ConfigError(
                f"`TUSHARE_TOKEN` must be a valid token; got the refusal {said!r}; set the right"
                " one in the environment"
            )
        return Transient(f"the refusal {said!r}")


def _client(token: str, timeout: float, url: str | None) -> Any:
    try:
        with warnings.catch_warnings():
            # Its modules hold escapes that newer Pythons warn of when they compile them.
            warnings.simplefilter("ignore")
            from tushare.pro.client import DataApi
    except ImportError as error:
        raise ConfigError(
            f"`tushare` must be installed to fetch from it; got no module {error.name!r}; run"
            ' pip install "factorlab[tushare]"'
        ) from None
    api = DataApi(token, timeout=timeout)
    if url:
        # The client has no other way to name a server.
        api._DataApi__http_url = url.rstrip("/")
    return api
