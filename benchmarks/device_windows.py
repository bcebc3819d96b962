"""Time the windows of a batch on a GPU, by torch and by Triton, beside sorts.

::

    python benchmarks/device_windows.py                      # 4,500 members of 5,600 stocks
    python benchmarks/device_windows.py --normalize alpha360

In microseconds, medians: `queued` is what the host needs to give the work to the GPU, `alone`
is from its first to its last kernel (the host's pace, where that is the slower), `graph` the same
work in a CUDA graph, which is what the GPU itself needs.

- sorts: the statistics by two sorts, fields gathered and normalised by an operation each, as
  windows were cut before there were kernels;
- torch: medians by selection, fewer operations; where Triton is missing;
- triton: the kernels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from factorlab.features import FIELDS, FeatureSettings, WindowSource
from factorlab.training.device_windows import DeviceWindows

CLOSE, VOLUME = FIELDS.index("close"), FIELDS.index("volume")
ASSETS = 5_600


class Market:
    """A seeded market in memory with the attributes that windows read."""

    def __init__(self, sessions: int, stocks: int) -> None:
        rng = np.random.default_rng(0)
        self.dates = np.arange(sessions)
        self.assets = np.arange(stocks)
        shape = (sessions, stocks)
        close = 10 * np.exp(np.cumsum(0.02 * rng.standard_normal(shape), axis=0))
        self.data = {name: close * (1 + 0.01 * rng.random(shape)) for name in FIELDS[:VOLUME]}
        self.data |= {"close": close, "volume": np.exp(12 + rng.standard_normal(shape))}
        missing = rng.random(shape) < 0.02
        for values in self.data.values():
            values[missing] = np.nan
        self.data |= {"adj_factor": np.ones(shape), "split_factor": np.ones(shape)}

    def __getitem__(self, field: str) -> np.ndarray:
        return self.data[field]


class Sorts:
    """Windows relative to the last close by an operation each, statistics by two sorts."""

    def __init__(self, source: WindowSource, device: torch.device) -> None:
        self.base, self.look_back = torch.from_numpy(source.base).to(device), source.first + 1
        self.members = [
            torch.from_numpy(source.members(t)).to(device) for t in range(len(self.base))
        ]
        self.last = source.settings.normalize == "alpha360"
        self.clip = source.settings.clip_mad
        self.stats: dict[int, tuple[Tensor, ...]] = {}

    def relative(self, t: int, columns: Tensor) -> Tensor:
        x = self.base[t - self.look_back + 1 : t + 1].index_select(2, columns)
        volume = x[:, VOLUME]
        if self.last:
            level = volume[-1].clone()
        else:
            known = volume.isfinite()
            total = torch.where(known, volume, torch.zeros_like(volume)).sum(dim=0)
            level = total / known.sum(dim=0)
        x[:, :VOLUME] /= x[-1, CLOSE].clone()
        volume /= level
        return x if self.last else x.sub_(1.0)

    def statistics(self, t: int) -> tuple[Tensor, ...]:
        if t in self.stats:
            return self.stats[t]
        ordered = self.relative(t, self.members[t]).sort(dim=2).values
        missing = ordered.isnan()
        count = (ordered.shape[2] - missing.sum(dim=2, keepdim=True)).clamp_min(1)

        def middle(values: Tensor) -> Tensor:
            return (values.gather(2, (count - 1) // 2) + values.gather(2, count // 2)) / 2

        median = middle(ordered)
        bound = self.clip * 1.4826 * middle((ordered - median).abs().sort(dim=2).values)
        low, high = median - bound, median + bound
        clipped = ordered.maximum(low).minimum(high).masked_fill(missing, 0.0)
        mean = clipped.sum(dim=2, keepdim=True, dtype=torch.float64) / count
        left = (clipped - mean.float()).masked_fill(missing, 0.0)
        std = (left.square().sum(dim=2, keepdim=True, dtype=torch.float64) / count).sqrt()
        told = std > 1e-6 * median.abs().clamp_min(1e-6)
        inverse = torch.where(told, 1.0 / std, torch.zeros_like(std))
        self.stats[t] = low, high, mean.float(), inverse.float()
        return self.stats[t]

    def window(self, t: int, columns: Tensor) -> Tensor:
        low, high, mean, inverse = self.statistics(t)
        x = (self.relative(t, columns).maximum(low).minimum(high) - mean) * inverse
        x = torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
        return x.transpose(1, 2).contiguous()


def medians(work: Callable[[int], object], sessions: range) -> tuple[float, float, float]:
    """Median microseconds of work over sessions, queued, alone and in a graph."""
    work(sessions[0])
    queued, alone, graphed = [], [], []
    for t in sessions:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start = time.perf_counter()
        begin.record()
        work(t)
        end.record()
        queued.append(1e6 * (time.perf_counter() - start))
        torch.cuda.synchronize()
        alone.append(1e3 * begin.elapsed_time(end))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work(sessions[-1])
    for _ in sessions:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        graphed.append(1e3 * begin.elapsed_time(end))
    return float(np.median(queued)), float(np.median(alone)), float(np.median(graphed))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--normalize", choices=["lastclose_cs", "alpha360"], default="lastclose_cs")
    parser.add_argument("--look-back", type=int, default=150)
    parser.add_argument("--members", type=int, default=4_500)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("needs a GPU that torch can use; got none")
    device = torch.device("cuda")
    settings = FeatureSettings(look_back=args.look_back, normalize=args.normalize)
    market = Market(args.look_back + args.repeats, ASSETS)
    rng = np.random.default_rng(1)
    universe = np.zeros((len(market.dates), ASSETS), dtype=bool)
    universe[:, np.sort(rng.permutation(ASSETS)[: args.members])] = True
    source = WindowSource(market, universe, settings)  # type: ignore[arg-type]
    sessions = range(source.first, len(market.dates))
    fitted = source.fit(np.asarray(sessions)) if settings.is_fitted else None

    sorts = Sorts(source, device)
    by = {"torch": DeviceWindows(source, device, False), "triton": DeviceWindows(source, device)}
    if by["triton"].kernels is None:
        del by["triton"]
    reference = sorts.statistics(sessions[-1])
    for name, cutter in by.items():
        found = cutter.statistics(sessions[-1])[..., None]
        apart = [
            float((a - b).abs().nan_to_num().max()) for a, b in zip(found, reference, strict=True)
        ]
        print(f"{name}: low, high, mean, 1/std differ from sorts' by at most", apart)

    def anew(cutter: DeviceWindows) -> Callable[[int], object]:
        def work(t: int) -> None:
            cutter.forget()
            cutter.statistics(t)

        return work

    def sorted_anew(t: int) -> None:
        sorts.stats.clear()
        sorts.statistics(t)

    print(f"\n{torch.cuda.get_device_name()}, {args.normalize}, {args.look_back} sessions, µs")
    print(f"{'':44}{'queued':>9}{'alone':>9}{'graph':>9}")
    rows: dict[str, Callable[[int], object]] = {"sorts, statistics": sorted_anew}
    rows |= {f"{name}, statistics": anew(cutter) for name, cutter in by.items()}
    for name, work in rows.items():
        print(f"{name:44}" + "".join(f"{value:9.1f}" for value in medians(work, sessions)))
    sorts.stats.clear()  # what a graph left is in its memory
    for cutter in by.values():
        cutter.forget()
    for stocks in (1_000, args.members):
        columns = np.sort(rng.permutation(np.flatnonzero(universe[0]))[:stocks])
        where = torch.from_numpy(columns).to(device)
        cuts: dict[str, Callable[[int], object]] = {
            f"sorts, cut {stocks:,}": lambda t, c=where: sorts.window(t, c)
        }
        for name, cutter in by.items():
            cuts[f"{name}, cut {stocks:,}"] = lambda t, c=where, w=cutter: w.window(t, c, fitted)
        for name, work in cuts.items():
            for t in sessions:
                work(t)  # the statistics lie there
            print(f"{name:44}" + "".join(f"{value:9.1f}" for value in medians(work, sessions)))


if __name__ == "__main__":
    main()
