"""Time a training step beside the plain loop that most code bases have.

::

    python benchmarks/training.py                  # 1,000 and 4,000 stocks, windows of 150 sessions
    python benchmarks/training.py --small          # 200 stocks, windows of 30, seconds
    python benchmarks/training.py --device cuda    # on a GPU: both networks, and where a step goes

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
Adam; ours draws the stocks and their labels too. The floating point operations are those of the
products alone, forward and backward; the peak is that of a 2,048³ product on the same thread, of
an 8,192³ one on a GPU.

On a GPU sessions differ in their stocks, by up to 2 %, and are visited again and again, as an epoch
after the first does, in whose steps each session's statistics are known and which replays a
recording of each size (a CUDA graph); beside it stands the step where all sessions have as many
stocks. Steps are queued without waiting for each, as an epoch queues them: the figures are medians
over passes of all sessions; beside them stands the median of single steps that were waited for.
Windows are told by the time that they keep the GPU busy, since the host cuts those of a step while
the GPU is at the one before.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from plain_loop import HIDDEN, PATCH, PLAIN, Market, Plain
from threadpoolctl import threadpool_limits
from torch.autograd.profiler_util import EventList, FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from factorlab.features import FIELDS, FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.training.data import Batch, TrainingData
from factorlab.training.job import Job
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.trainer import Steps, Trainer

SIX = 6
# Passes over the sessions of a GPU: to warm up (compiled kernels, captured graphs), and timed.
WARM, PASSES = 2, 5


class Pace(NamedTuple):
    """Seconds a step: queued, until the host had queued it, and waited for one by one."""

    queued: float
    host: float
    alone: float


class Case:
    """One network on one market: what its steps are taken on.

    Sessions have all stocks, or `unlike` ones: up to 2 % are missing, more each session.
    """

    def __init__(
        self,
        model: str,
        stocks: int,
        look_back: int,
        repeats: int,
        device: torch.device,
        unlike: bool = False,
    ) -> None:
        self.model, self.stocks, self.device = model, stocks, device
        self.labels, self.windows = LabelSettings(), FeatureSettings(look_back=look_back)
        behind = self.labels.horizon + self.labels.delay
        self.market = Market(look_back + repeats + 1 + behind, stocks)
        self.days = range(look_back - 1, look_back + repeats)
        missing = np.random.default_rng(1).random((len(self.market.dates), stocks))
        shares = np.linspace(0.0, 0.02, len(missing))[:, None] * unlike
        self.universe = missing >= shares

    def data(self) -> TrainingData:
        """Return data of its own, whose sessions have labels but no windows' statistics yet."""
        windows = WindowSource(self.market, self.universe, self.windows)  # type: ignore[arg-type]
        data = TrainingData(self.market, windows, self.labels)  # type: ignore[arg-type]
        for t in self.days:
            for loss in ("ic", "mse"):
                data.label(t, loss)
        return data

    def trainers(self, count: int) -> list[Trainer]:
        """Return so many trainings on new data, losses in turn."""
        days = np.array(self.days)
        split = Split(int(days[-1]), "benchmark", days, days[-1:], days[-1:])
        settings = TrainingSettings(shared_batches=True, device=self.device.type)
        jobs = [
            Job(ModelSettings(self.model, ("ic", "mse")[k % 2]), k, split) for k in range(count)
        ]
        data = self.data()
        return [Trainer(job, data, settings) for job in jobs]  # type: ignore[arg-type]

    def steps(self, count: int) -> Callable[[int], object]:
        """Return a step of so many trainings."""
        steps, rng = Steps(self.trainers(count)), np.random.default_rng(0)
        return lambda t: steps.step(t, rng)

    def plain(self) -> Callable[[int], object]:
        """Return a step of the plain loop, whose windows are built here."""
        data, loop, built = self.data(), Plain(self.model, self.device), {}
        for t in self.days:
            columns = data.columns(t)
            batch = data.batch(t, columns, self.device)
            x = batch.x.transpose(0, 1).contiguous()
            built[t] = Batch(x, batch.size, columns), data.label(t, "ic")[columns]
        return lambda t: loop.learn(*built[t])

    def cut(self) -> Callable[[int], Batch]:
        """Return what cuts the windows of a session."""
        data = self.data()
        return lambda t: data.batch(t, data.columns(t), self.device)

    def products(self) -> float:
        """Floating point operations of the network's products in one training step."""
        inputs = len(FIELDS) * PATCH
        macs = 2 * inputs + 3 * HIDDEN  # forward, and backward by weights and by states
        if self.model == "DecompGRU":
            macs += 6 * HIDDEN  # the second layer passes on to its inputs too
        steps = self.windows.look_back // PATCH
        return 2.0 * self.stocks * steps * 3 * HIDDEN * macs


def timed(work: Callable[[int], object], sessions: Sequence[int]) -> float:
    """Return the median seconds of `work` over sessions, after one to warm up."""
    spent = []
    for t in sessions:
        wait()
        start = time.perf_counter()
        work(t)
        wait()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[1:]))


def paced(work: Callable[[int], object], sessions: Sequence[int]) -> Pace:
    """Time `work` on a GPU over passes of all sessions."""
    whole, host = [], []
    for _ in range(WARM + PASSES):
        wait()
        start = time.perf_counter()
        for t in sessions:
            work(t)
        host.append(time.perf_counter() - start)
        wait()
        whole.append(time.perf_counter() - start)
    queued, issued = (float(np.median(s[WARM:])) / len(sessions) for s in (whole, host))
    return Pace(queued, issued, timed(work, sessions))


def wait() -> None:
    """Let a GPU end what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak(device: torch.device) -> float:
    """Operations a second of a large product: on a CPU, the faster of the two libraries."""
    n = 2048 if device.type == "cpu" else 8192
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    b = torch.from_numpy(a).to(device)
    seconds = timed(lambda _: torch.mm(b, b), range(6))
    if device.type == "cpu":
        seconds = min(seconds, timed(lambda _: a.dot(a), range(6)))
    return 2.0 * n**3 / seconds


def measure(case: Case) -> None:
    """Print the table of one size on a CPU."""
    seconds = {
        "plain loop, nn.GRU, windows built before": timed(case.plain(), case.days),
        "ours, one training": timed(case.steps(1), case.days),
        "ours, six at once, one of them": timed(case.steps(SIX), case.days) / SIX,
    }
    window = timed(case.cut(), case.days)
    flops, most, stocks = case.products(), peak(case.device), case.stocks
    print(f"\n{stocks:,} stocks × {case.windows.look_back} sessions,", end=" ")
    print(f"{flops / 1e9:.2f} GFLOP a step, peak {most / 1e9:,.0f} GFLOP/s")
    print(f"{'':44}{'ms a step':>10}{'windows/s':>11}{'of peak':>9}{'ratio':>7}")
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        rate = f"{1e3 * value:10.1f}{stocks / value:11,.0f}{flops / value / most:9.0%}"
        print(f"{name:44}{rate}{first / value:7.2f}")
    own = seconds["ours, one training"]
    share = window / SIX / seconds["ours, six at once, one of them"]
    print(f"windows: {window / own:.0%} of a step of one training, {share:.0%} of six at once")


def measure_gpu(case: Case, even: Case, peaks: tuple[float, float], report: Path | None) -> None:
    """Print the tables of one network and size on a GPU: sessions of unlike and of one size."""
    order = np.random.default_rng(2).permutation(np.array(case.days)).tolist()
    flops, stocks = case.products(), case.stocks
    print(f"\n{case.model}, {stocks:,} stocks × {case.windows.look_back} sessions,", end=" ")
    print(f"{flops / 1e9:.2f} GFLOP a step of one")
    head = f"{'ms a step':>11}{'waited for':>12}{'windows/s':>13}{'of fp32':>9}{'of TF32':>9}"
    print(f"{'':44}{head}{'ratio':>7}")
    rows = (
        ("plain loop, nn.GRU, windows built before", 1, case.plain),
        ("ours, one training", 1, lambda: case.steps(1)),
        ("ours, six, sessions of one size, one of them", SIX, lambda: even.steps(SIX)),
        ("ours, six at once, one of them", SIX, lambda: case.steps(SIX)),
    )
    base, alone, work = 0.0, 0.0, None
    for name, count, open_ in rows:
        work = None  # what is timed next has the memory to itself
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work = open_()
        pace = paced(work, order)
        value = pace.queued / count
        base = base or value
        alone = value if name == "ours, one training" else alone
        rate = f"{1e3 * value:11.3f}{1e3 * pace.alone / count:12.3f}{stocks / value:13,.0f}"
        shares = "".join(f"{flops / value / most:9.1%}" for most in peaks)
        print(f"{name:44}{rate}{shares}{base / value:7.2f}", flush=True)
    held = torch.cuda.max_memory_allocated() / 1e9
    print(
        f"six at once: {1e3 * pace.queued:.3f} ms a step of all six, host {1e3 * pace.host:.3f} ms",
        end=", ",
    )
    print(f"{held:.2f} GB of GPU memory at most", flush=True)
    breakdown(case, work, order, pace, report)
    cut = case.cut()
    start = time.perf_counter()
    cut(order[0])
    wait()
    laid = time.perf_counter() - start
    # What the GPU has to do for windows, of what it has to do for a step of six that waits for it.
    anew, _ = busy(cut, order[1:])
    known, _ = busy(cut, order)
    host = paced(cut, order).host
    print(f"windows, statistics known: GPU busy {1e3 * known:.3f} ms,", end=" ")
    print(f"{known / alone:.1%} of a step of one, {known / pace.queued:.1%} of six;", end=" ")
    print(f"anew: {1e3 * anew:.3f} ms, {anew / (alone + anew - known):.1%} of one,", end=" ")
    print(f"{anew / (pace.queued + anew - known):.1%} of six; host {1e3 * host:.3f} ms;", end=" ")
    print(f"fields laid on the GPU and a first window: {laid:.2f} s", flush=True)


def busy(work: Callable[[int], object], sessions: Sequence[int]) -> tuple[float, EventList]:
    """Return the seconds a session that `work` keeps the GPU busy, and what the profiler saw."""
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for t in sessions:
            work(t)
        wait()
    events = profiler.key_averages()
    spent = sum(e.self_device_time_total for e in kernels(events))
    return spent / 1e6 / len(sessions), events


def kernels(events: EventList) -> list[FunctionEventAvg]:
    """Return what ran on the GPU.

    Spans that a caller names lie over the kernels within them, which are counted already.
    """
    return [
        e
        for e in events
        if e.device_type == torch.autograd.DeviceType.CUDA
        and not getattr(e, "is_user_annotation", False)
        and not e.key.startswith(("Optimizer.", "ProfilerStep"))
    ]


def breakdown(
    case: Case,
    work: Callable[[int], object],
    sessions: Sequence[int],
    pace: Pace | None,
    report: Path | None,
) -> None:
    """Print what a step keeps the GPU and the host busy with; add the profiler's tables."""
    spent, events = busy(work, sessions)
    steps = len(sessions)
    if pace is not None:

        def calls(*names: str) -> float:
            """Count a step's calls of the driver."""
            return sum(e.count for e in events if any(n in e.key for n in names)) / steps

        print(
            f"a step of six: GPU busy {1e3 * spent:.3f} ms, {spent / pace.queued:.0%} of it;",
            end=" ",
        )
        print(f"{sum(e.count for e in kernels(events)) / steps:.0f} kernels and copies,", end=" ")
        print(f"{calls('LaunchKernel'):.0f} launches, {calls('GraphLaunch'):.1f} graphs,", end=" ")
        print(f"{calls('cudaMemcpy', 'cudaMemset'):.0f} copies and fills,", end=" ")
        print(f"{calls('StreamSynchronize', 'EventSynchronize'):.1f} waits", flush=True)
    if report is None:
        return
    tables = [events.table(sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=90)]
    if case.device.type == "cuda":
        key = "self_device_time_total"
        tables.insert(0, events.table(sort_by=key, row_limit=40, max_name_column_width=90))
    with report.open("a", encoding="utf-8") as file:
        file.write(f"\n{case.model}, {case.stocks:,} stocks, {steps} steps of six at once\n")
        file.writelines(tables)


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="200 stocks × 30 sessions")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--models", nargs="+", choices=tuple(PLAIN), help="by default GRU, on CUDA both"
    )
    parser.add_argument("--stocks", nargs="+", type=int, help="sizes, instead of 1,000 and 4,000")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="add the profiler's tables to it"
    )
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(1)
    threadpool_limits(1)
    on_gpu = device.type == "cuda"
    models = args.models or (tuple(PLAIN) if on_gpu else ("GRU",))
    sizes = {1000: 9, 4000: 5} | ({1000: 23, 4000: 23, 4500: 23} if on_gpu else {})
    if args.stocks:
        sizes = {stocks: sizes.get(stocks, 23 if on_gpu else 5) for stocks in args.stocks}
    look_back = 150
    if args.small:
        sizes, look_back = {200: 4}, 30
    peaks = (0.0, 0.0)
    if on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = False
        plain = peak(device)
        torch.backends.cuda.matmul.allow_tf32 = True
        peaks = plain, peak(device)
        torch.backends.cuda.matmul.allow_tf32 = False
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__},", end=" ")
        print(
            f"product of 8,192³: fp32 {peaks[0] / 1e12:.1f}, TF32 {peaks[1] / 1e12:.1f} TFLOP/s;",
            end=" ",
        )
        print(f"TF32 in cuDNN: {torch.backends.cudnn.allow_tf32}", flush=True)
    for model in models:
        for stocks, repeats in sizes.items():
            case = Case(model, stocks, look_back, repeats, device, unlike=on_gpu)
            if on_gpu:
                even = Case(model, stocks, look_back, repeats, device)
                measure_gpu(case, even, peaks, args.profile)
                continue
            if len(models) > 1 or model != "GRU":
                print(f"\n{model}", end="")
            measure(case)
            if args.profile:
                breakdown(case, case.steps(SIX), case.days, None, args.profile)


if __name__ == "__main__":
    main()
