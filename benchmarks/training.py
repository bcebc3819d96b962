"""Time a training step beside the plain loop that most code bases have.

::

    python benchmarks/training.py                  # 1,000 and 4,000 stocks, windows of 150 sessions
    python benchmarks/training.py --small          # 200 stocks, windows of 30, seconds
    python benchmarks/training.py --device cuda    # the same on a GPU

On the same seeded market and the same networks, in one run and, on a CPU, on one thread (trainings
run as processes of one thread each):

- plain: `nn.Conv1d`, `nn.GRU` and windows that were built before the clock starts, one model
  after the other;
- ours, one training: windows cut and normalised inside the clock, each session's statistics
  computed anew;
- ours, six at once: six trainings (seeds and losses) share their batches, whose windows are cut
  once (`training.shared_batches`); on a GPU their weights are stacked and stepped as one program.
  Seconds are those of one of the six.

A step is the forward and backward pass of one session's stocks, the clipped gradient and
Adam. The floating point operations are those of the products alone, forward and backward;
the peak is that of a 2,048³ product on the same thread, of an 8,192³ one on a GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from factorlab.features import FIELDS, FeatureSettings, WindowSource
from factorlab.models import build_model
from factorlab.training.batched import BatchedSteps
from factorlab.training.data import Batch
from factorlab.training.device_windows import DeviceWindows
from factorlab.training.job import LOSSES
from factorlab.training.settings import ModelSettings, TrainingSettings

HIDDEN, PATCH, SIX = 64, 3, 6


class Market:
    """A seeded market in memory with the attributes that windows read."""

    def __init__(self, sessions: int, stocks: int) -> None:
        rng = np.random.default_rng(0)
        days = np.arange(np.datetime64("2015-01-01"), np.datetime64("2015-01-01") + 2 * sessions)
        self.dates = days[np.is_busday(days)][:sessions]
        self.assets = np.array([f"{600000 + k}.SH" for k in range(stocks)])
        shape = (sessions, stocks)
        close = 10 * np.exp(np.cumsum(0.02 * rng.standard_normal(shape), axis=0))
        self.data = {name: close * (1 + 0.01 * rng.random(shape)) for name in FIELDS[:5]}
        self.data |= {"close": close, "volume": np.exp(12 + rng.standard_normal(shape))}
        self.data |= {"adj_factor": np.ones(shape), "split_factor": np.ones(shape)}

    def __getitem__(self, field: str) -> np.ndarray:
        return self.data[field]


class PlainGRU(nn.Module):
    """The baseline network as one would write it, batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv1d(len(FIELDS), HIDDEN, PATCH, PATCH)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.norm, self.linear = nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """Score windows (B, L, F)."""
        states, _ = self.gru(self.patch(x.transpose(1, 2)).transpose(1, 2))
        return self.linear(self.norm(states[:, -1])).squeeze(-1)


class Job:
    """What `factorlab.training.batched` asks of a job."""

    def __init__(self, number: int) -> None:
        self.spec = ModelSettings("GRU", ("ic", "mse")[number % 2])
        self.loss = self.spec.loss
        self.criterion = LOSSES[self.loss]


class Trainee:
    """A network, its optimiser and its loss: what a `Trainer` has, without its files."""

    def __init__(self, network: nn.Module, number: int, device: torch.device) -> None:
        self.job, self.settings, self.device = Job(number), TrainingSettings(), device
        self.model = network.to(device)
        self.optimizer = torch.optim.Adam([{"params": list(network.parameters())}], lr=1e-3)

    def learn(self, batch: Batch, label: np.ndarray) -> torch.Tensor:
        """Take one step."""
        target = torch.from_numpy(label.astype(np.float32)).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.job.criterion(self.model(batch.x, batch.size), target)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 3.0)
        self.optimizer.step()
        return loss.detach()


def timed(work: Callable[[int], object], sessions: range) -> float:
    """Return the median seconds of `work` over sessions, after one to warm up."""
    spent = []
    for t in sessions:
        wait()
        start = time.perf_counter()
        work(t)
        wait()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[1:]))


def wait() -> None:
    """Let a GPU end what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def products(stocks: int, steps: int) -> float:
    """Floating point operations of the baseline's products in one training step."""
    inputs = len(FIELDS) * PATCH
    forward = steps * 3 * HIDDEN * (inputs + HIDDEN)  # input map folded into the patches
    backward = steps * 3 * HIDDEN * (inputs + 2 * HIDDEN)  # by weights, and by states
    return 2.0 * stocks * (forward + backward)


def peak(device: torch.device) -> float:
    """Operations a second of a large product: on a CPU, the faster of the two libraries."""
    n = 2048 if device.type == "cpu" else 8192
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    b = torch.from_numpy(a).to(device)
    seconds = timed(lambda _: torch.mm(b, b), range(6))
    if device.type == "cpu":
        seconds = min(seconds, timed(lambda _: a.dot(a), range(6)))
    return 2.0 * n**3 / seconds


def measure(stocks: int, look_back: int, repeats: int, device: torch.device) -> None:
    """Print the table of one size."""
    market = Market(look_back + repeats + 1, stocks)
    universe = np.ones((len(market.dates), stocks), dtype=bool)
    settings = FeatureSettings(look_back=look_back)
    columns = np.arange(stocks)
    days = range(look_back - 1, look_back + repeats)
    size = torch.randn(stocks).to(device)
    label = np.random.default_rng(1).random(stocks)

    def cutter() -> Callable[[int], Batch]:
        """Windows of their own, whose sessions have no statistics yet."""
        windows = WindowSource(market, universe, settings)  # type: ignore[arg-type]
        there = DeviceWindows(windows, device) if device.type == "cuda" else None

        def cut(t: int) -> Batch:
            if there is not None:
                return Batch(there.window(t, columns), size, columns)
            x = torch.from_numpy(windows.window(t, columns)).transpose(1, 2).contiguous()
            return Batch(x, size, columns)

        return cut

    cut = cutter()
    built = {t: Batch(cut(t).x.transpose(0, 1).contiguous(), size, columns) for t in days}
    plain = Trainee(PlainGRU(), 0, device)
    seconds = {
        "plain loop, nn.GRU, windows built before": timed(
            lambda t: plain.learn(built[t], label), days
        )
    }
    one, cut = Trainee(build_model("GRU"), 0, device), cutter()
    seconds["ours, one training"] = timed(lambda t: one.learn(cut(t), label), days)
    six, cut_six = [Trainee(build_model("GRU"), k, device) for k in range(SIX)], cutter()
    stacked = BatchedSteps(six) if device.type == "cuda" else None  # type: ignore[arg-type]

    def together(t: int) -> None:
        batch = cut_six(t)
        if stacked is not None:
            stacked.step(batch, [label] * SIX)
            return
        for trainee in six:
            trainee.learn(batch, label)

    seconds["ours, six at once, one of them"] = timed(together, days) / SIX
    window = timed(cutter(), days)
    flops, most = products(stocks, look_back // PATCH), peak(device)
    print(f"\n{stocks:,} stocks × {look_back} sessions, {flops / 1e9:.2f} GFLOP a step,", end=" ")
    print(f"peak {most / 1e9:,.0f} GFLOP/s")
    print(f"{'':44}{'ms a step':>10}{'windows/s':>11}{'of peak':>9}{'ratio':>7}")
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        rate = f"{1e3 * value:10.1f}{stocks / value:11,.0f}{flops / value / most:9.0%}"
        print(f"{name:44}{rate}{first / value:7.2f}")
    own = seconds["ours, one training"]
    share = window / SIX / seconds["ours, six at once, one of them"]
    print(f"windows: {window / own:.0%} of a step of one training, {share:.0%} of six at once")


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="200 stocks × 30 sessions")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(1)
    threadpool_limits(1)
    sizes = ((200, 30, 4),) if args.small else ((1000, 150, 9), (4000, 150, 5))
    for stocks, look_back, repeats in sizes:
        measure(stocks, look_back, repeats, device)


if __name__ == "__main__":
    main()
