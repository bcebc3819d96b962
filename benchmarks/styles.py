"""Time the price styles beside a plain pandas implementation on the same panel.

::

    python benchmarks/styles.py            # 5,400 stocks × 3,000 sessions
    python benchmarks/styles.py --small    # 600 × 700, seconds

`style_exposures` computes all sessions; the pandas one, which takes each session's windows with
weights, clips, standardises and combines them, computes the last `PEER_SESSIONS` of them and is
scaled by the session. Both run in processes of their own, so that the peak memory is their own.
The panel is seeded noise without fundamentals; the difference of the results is printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd

SIZES = {"full": (3000, 5400), "small": (700, 600)}
PEER_SESSIONS = 20
STYLES = ("SIZE", "BETA", "MOMENTUM", "RESVOL", "NLSIZE", "LIQUIDITY")


class Market:
    """A seeded market in memory with the attributes of a store that styles read."""

    def __init__(self, t: int, n: int) -> None:
        rng = np.random.default_rng(0)
        days = np.arange(np.datetime64("2010-01-01"), np.datetime64("2030-01-01"))
        self.dates = days[np.is_busday(days)][:t]
        self.assets = np.array([f"{600000 + k}.SH" for k in range(n)])
        self.list_index = np.full(n, -500)
        self.delist_index = np.full(n, t)
        step = 0.02 * rng.standard_normal((t, n)) + 0.01 * rng.standard_normal((t, 1))
        close = 10 * np.exp(np.cumsum(step, axis=0))
        shares = np.repeat(np.exp(20 + rng.standard_normal((1, n))), t, 0)
        off = rng.random((t, n)) < 0.01
        volume = 0.01 * shares * np.exp(rng.standard_normal((t, n)))
        close[off], volume[off] = np.nan, np.nan
        self._fields = {
            "close": close,
            "adj_factor": np.ones((t, n)),
            "volume": volume,
            "total_shares": shares,
            "float_shares": 0.5 * shares,
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return self._fields[name]

    def fundamentals(self) -> None:
        """There are none."""


def ours(market: Market) -> tuple[float, np.ndarray]:
    """All sessions; the last ones come back."""
    from factorlab.styles import StyleSettings, style_exposures

    style_exposures(market, slice(0, 70))  # compiled code is loaded
    began = time.perf_counter()
    out = style_exposures(market, None, StyleSettings(dtype="float64"))
    seconds = time.perf_counter() - began
    return seconds, np.stack([out[name][-PEER_SESSIONS:] for name in STYLES])


def peer(market: Market) -> tuple[float, np.ndarray]:
    """The last sessions with pandas, scaled to all of them."""
    began = time.perf_counter()
    close = pd.DataFrame(market["close"])
    cap_all = close.ffill() * market["total_shares"]
    daily = close / close.shift(1) - 1
    weight = cap_all.shift(1).where(daily.notna())
    index = (daily * weight).sum(axis=1) / weight.sum(axis=1)
    level = np.log(close.ffill())
    change = level.diff()
    turnover = pd.DataFrame(market["volume"] / market["float_shares"])
    shared = time.perf_counter() - began
    sessions = len(close)
    out = []
    for t in range(sessions - PEER_SESSIONS, sessions):
        out.append(session(t, cap_all.iloc[t], daily, index, level, change, turnover))
    whole = time.perf_counter() - began - shared
    return shared + whole * sessions / PEER_SESSIONS, np.stack(out, axis=1)


def session(t, cap, daily, index, level, change, turnover):
    """Every style of one session."""

    def decay(n, half):
        return pd.Series(0.5 ** (np.arange(n - 1, -1, -1) / half))

    def part(frame, n, end=t + 1):
        return frame.iloc[end - n : end].reset_index(drop=True)

    y, x = part(daily, 252), part(index, 252)
    known = y.notna()
    w = known.mul(decay(252, 63), axis=0)
    total = w.sum()
    mx, my = w.mul(x, axis=0).sum() / total, (w * y).sum() / total
    xx = w.mul(x**2, axis=0).sum() / total - mx**2
    xy = (w * y).mul(x, axis=0).sum() / total - mx * my
    yy = (w * y**2).sum() / total - my**2
    beta, hsigma = xy / xx, np.sqrt(yy - xy**2 / xx)
    w = known.mul(decay(252, 42), axis=0)
    mean = (w * y).sum() / w.sum()
    dastd = np.sqrt((w * (y - mean) ** 2).sum() / w.sum())
    v = decay(504, 126)
    momentum = part(change, 504, t - 20).mul(v / v.sum(), axis=0).sum()
    months = pd.DataFrame({k: level.iloc[t] - level.iloc[t - 21 * k] for k in range(1, 13)})
    cmra = months.max(axis=1) - months.min(axis=1)
    logs = [np.log(21 * part(turnover, n).mean()) for n in (21, 63, 252)]

    def standard(s, clip=5.0):
        if clip:
            reach = clip * 1.4826 * (s - s.median()).abs().median()
            s = s.clip(s.median() - reach, s.median() + reach)
        return (s - (s * cap).sum() / cap.sum()) / s.std(ddof=0)

    def residual(a, b):
        slope = a.cov(b) / b.var()
        return a - a.mean() - slope * (b - b.mean())

    size, b = standard(np.log(cap), 0), standard(standard(beta), 0)
    vol = 0.74 * standard(dastd) + 0.16 * standard(cmra) + 0.10 * standard(hsigma)
    liquid = sum(k * standard(z) for k, z in zip((0.35, 0.35, 0.30), logs, strict=True))
    return np.stack(
        [
            size,
            b,
            standard(standard(momentum), 0),
            standard(residual(vol, b), 0),
            standard(residual(size**3, size)),
            standard(liquid, 0),
        ]
    )


def main() -> None:
    """Run both in processes of their own and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=("ours", "peer"))
    given = parser.parse_args()
    size = SIZES["small" if given.small else "full"]
    if given.only:
        seconds, values = {"ours": ours, "peer": peer}[given.only](Market(*size))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        np.save(sys.stdout.buffer, values)
        print(json.dumps({"seconds": seconds, "peak": peak}), file=sys.stderr)
        return
    found, values = {}, {}
    for name in ("ours", "peer"):
        command = [sys.executable, __file__, "--only", name, *(["--small"] if given.small else [])]
        done = subprocess.run(command, check=True, capture_output=True)
        found[name] = json.loads(done.stderr.decode().splitlines()[-1])
        values[name] = np.frombuffer(done.stdout[-PEER_SESSIONS * size[1] * len(STYLES) * 8 :])
    for name, row in found.items():
        print(f"{name}: {row['seconds']:.1f} s, peak {row['peak']:.2f} GB")
    print(f"ratio {found['peer']['seconds'] / found['ours']['seconds']:.0f}")
    print(f"largest difference {np.nanmax(np.abs(values['ours'] - values['peer'])):.1e}")


if __name__ == "__main__":
    main()
