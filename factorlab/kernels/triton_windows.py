"""Windows on a GPU: gathered, clipped and standardised in one pass, medians found bit by bit."""

from __future__ import annotations

import subprocess

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.errors import TritonError

__all__ = ["LARGEST", "cut", "mean_volume", "moments", "why_not"]

# Values of a row that a program keeps in its registers.
LARGEST = 8192
# Of them a thread keeps so many; with more, fewer programs share a multiprocessor.
_VALUES = 16
# Ampere; older ones are not what the kernels were written for.
_CAPABILITY = (8, 0)
# Places of the output that a program writes a session, and sessions it does so for.
_PLACES = 1024
_SESSIONS = 2
# Rounded after each operation, as torch does: a stock's own last close is 1 to the last bit.
_OPTIONS = {"enable_fp_fusion": False}


@triton.jit
def _probe(x: tl.tensor) -> None:
    tl.store(x, 1.0)


def why_not(device: torch.device) -> str:
    """Return why Triton's kernels cannot run on a GPU: of this module, or of its neighbours.

    Parameters
    ----------
    device : torch.device
        A GPU.

    Returns
    -------
    str
        One line, empty where they can.

    Notes
    -----
    Triton compiles a launcher with the system's C compiler on first use, which a machine with a
    GPU and no compiler only says then. So a kernel of one line is run.
    """
    if torch.cuda.get_device_capability(device) < _CAPABILITY:
        return "the GPU is older than compute capability 8.0"
    try:
        with torch.cuda.device(device):
            _probe[(1,)](torch.empty(1, device=device))
    except (OSError, RuntimeError, subprocess.SubprocessError, TritonError) as problem:
        return str(problem).partition("\n")[0]
    return ""


@triton.jit
def _is_finite(x: tl.tensor) -> tl.tensor:
    return tl.abs(x) < float("inf")  # false for NaN


@triton.jit
def _clip(x: tl.tensor, low: tl.tensor, high: tl.tensor) -> tl.tensor:
    """Clip; NaN stays, and NaN bounds make all NaN, as torch has it."""
    x = tl.maximum(x, low, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(x, high, propagate_nan=tl.PropagateNan.ALL)


@triton.jit(do_not_specialize=["t", "assets"])
def _mean_volume(
    base: tl.tensor,
    out: tl.tensor,
    t: tl.tensor,
    assets: tl.tensor,
    FIELDS: tl.constexpr,
    LOOK_BACK: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    asset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.arange(0, ROWS)[:, None]
    base += ((t - (LOOK_BACK - 1)).to(tl.int64) * FIELDS + FIELDS - 1) * assets
    total = tl.zeros([BLOCK], tl.float32)
    known = tl.zeros([BLOCK], tl.float32)
    for start in tl.static_range(0, LOOK_BACK, ROWS):
        there = (start + row < LOOK_BACK) & (asset < assets)[None, :]
        x = tl.load(base + (start + row) * FIELDS * assets + asset[None, :], there, float("nan"))
        is_known = _is_finite(x)
        total += tl.sum(tl.where(is_known, x, 0.0), axis=0)
        known += tl.sum(is_known.to(tl.float32), axis=0)
    tl.store(out + asset, tl.div_rn(total, known), asset < assets)


def mean_volume(base: Tensor, t: int, look_back: int) -> Tensor:
    """Return each stock's mean volume over the window of session `t`.

    Parameters
    ----------
    base : Tensor of float32, shape (T, F, N)
        Contiguous; volume is the last field.
    t, look_back : int

    Returns
    -------
    Tensor of float32, shape (N,)
        Missing sessions left out; NaN where all are missing.
    """
    fields, assets = base.shape[1:]
    out = base.new_empty(assets)
    grid = (triton.cdiv(assets, 32),)
    with torch.cuda.device_of(base):
        _mean_volume[grid](base, out, t, assets, fields, look_back, 64, 32, **_OPTIONS)
    return out


@triton.jit
def _value(key: tl.tensor) -> tl.tensor:
    """Return the float of an unsigned integer, where integers stand in the order of floats."""
    flip = tl.where((key >> 31) > 0, 0x80000000, 0xFFFFFFFF).to(tl.uint32)
    return (key ^ flip).to(tl.float32, bitcast=True)


@triton.jit
def _apart(x: tl.tensor, centre: tl.tensor, ABSOLUTE: tl.constexpr) -> tl.tensor:
    # Made anew in each pass: kept, they would take as many registers as the values do.
    return tl.abs(x - centre) if ABSOLUTE else x


@triton.jit
def _middle(x: tl.tensor, centre: tl.tensor, known: tl.tensor, ABSOLUTE: tl.constexpr) -> tl.tensor:
    """Median of the `known` values of `x`, or of their distances from `centre`; NaN of none."""
    rank = (known - 1) // 2
    # The largest float that at most `rank` values are below is the value of that rank. It is
    # found bit by bit from the highest; a comparison with NaN counts none.
    low = tl.full((), 0, tl.uint32)
    bit = tl.full((), 0x80000000, tl.uint32)
    infinity = tl.full((), 0xFF800000, tl.uint32)
    for _ in range(32):
        larger = low | bit
        below = tl.sum((_apart(x, centre, ABSOLUTE) < _value(larger)).to(tl.int32))
        low = tl.where((below <= rank) & (larger <= infinity), larger, low)
        bit = bit >> 1
    lower = _value(low)
    v = _apart(x, centre, ABSOLUTE)
    up_to = tl.sum((v <= lower).to(tl.int32))
    above = tl.min(tl.where(v > lower, v, float("inf")))
    upper = tl.where(up_to > known // 2, lower, above)
    return tl.where(known > 0, (lower + upper) * 0.5, float("nan"))


@triton.jit(do_not_specialize=["t", "last", "assets"])
def _moments(
    x: tl.tensor,
    universe: tl.tensor,
    volume: tl.tensor,
    out: tl.tensor,
    t: tl.tensor,
    last: tl.tensor,
    assets: tl.tensor,
    reach: tl.tensor,
    FIELDS: tl.constexpr,
    LOOK_BACK: tl.constexpr,
    CLOSE: tl.constexpr,
    LEVEL: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    place = tl.program_id(0)
    session = place // FIELDS
    field = place % FIELDS
    asset = tl.arange(0, BLOCK)
    there = asset < assets
    member = tl.load(universe + t.to(tl.int64) * assets + asset, there, 0) != 0
    row = (last - (LOOK_BACK - 1) + session).to(tl.int64) * FIELDS + field
    v = tl.load(x + row * assets + asset, member, float("nan"))
    if LEVEL != "none":
        own = x + last.to(tl.int64) * FIELDS * assets
        if field < FIELDS - 1:
            level = tl.load(own + CLOSE * assets + asset, member, float("nan"))
        elif LEVEL == "mean":
            level = tl.load(volume + asset, member, float("nan"))
        else:
            level = tl.load(own + (FIELDS - 1) * assets + asset, member, float("nan"))
        v = tl.div_rn(v, level)
        if LEVEL == "mean":
            v -= 1.0
    known = tl.sum((v == v).to(tl.int32))
    median = _middle(v, 0.0, known, False)
    bound = reach * _middle(v, median, known, True)
    low = median - bound
    high = median + bound
    clipped = _clip(v, low, high)
    n = tl.maximum(known, 1).to(tl.float64)
    mean = tl.sum(tl.where(v == v, clipped, 0.0).to(tl.float64)) / n
    single = mean.to(tl.float32)
    left = tl.where(v == v, clipped - single, 0.0)
    std = tl.sqrt(tl.sum((left * left).to(tl.float64)) / n)
    # A field that is constant up to rounding carries nothing: its std counts as 0.
    scale = 1e-6 * tl.maximum(tl.abs(median), 1e-6)
    told = (std > scale.to(tl.float64)) & (known > 0)
    inverse = tl.where(told, 1.0 / std, 0.0).to(tl.float32)
    tl.store(out + place, low)
    tl.store(out + LOOK_BACK * FIELDS + place, high)
    tl.store(out + 2 * LOOK_BACK * FIELDS + place, single)
    tl.store(out + 3 * LOOK_BACK * FIELDS + place, inverse)


def moments(
    x: Tensor,
    last: int,
    universe: Tensor,
    t: int,
    look_back: int,
    reach: float,
    level: str,
    close: int,
    volume: Tensor | None,
) -> Tensor:
    """Clip bounds and moments of the clipped values of a session's universe.

    Parameters
    ----------
    x : Tensor of float32, shape (T, F, N)
        Contiguous, N at most `LARGEST`; volume is the last field.
    last : int
        The window's last row in `x`.
    universe : Tensor of uint8, shape (T, N)
        Row `t` tells the members.
    t, look_back : int
    reach : float
        Clip at the median ± `reach` · MAD.
    level : {'none', 'mean', 'last'}
        ``mean``: prices / last close − 1, volume / `volume` − 1; ``last``: prices / last close,
        volume / last volume.
    close : int
        The field that is the close.
    volume : Tensor of float32, shape (N,), optional
        As `mean_volume` gives it.

    Returns
    -------
    Tensor of float32, shape (4, L, F)
        Low, high, mean, and 1/std (0 where the values are constant or none is known). The
        medians are exact.
    """
    fields, assets = x.shape[1:]
    out = x.new_empty((4, look_back, fields))
    block = max(triton.next_power_of_2(assets), 128)
    with torch.cuda.device_of(x):
        _moments[(look_back * fields,)](
            x,
            universe,
            x if volume is None else volume,
            out,
            t,
            last,
            assets,
            reach,
            fields,
            look_back,
            close,
            level,
            block,
            num_warps=min(max(block // _VALUES // 32, 4), 16),
            **_OPTIONS,
        )
    return out


@triton.jit(do_not_specialize=["t", "assets", "stocks"])
def _cut(
    base: tl.tensor,
    columns: tl.tensor,
    volume: tl.tensor,
    statistics: tl.tensor,
    out: tl.tensor,
    t: tl.tensor,
    assets: tl.tensor,
    stocks: tl.tensor,
    FIELDS: tl.constexpr,
    LOOK_BACK: tl.constexpr,
    CLOSE: tl.constexpr,
    LEVEL: tl.constexpr,
    STANDARD: tl.constexpr,
    WIDTH: tl.constexpr,
    OFFSET: tl.constexpr,
    PLACES: tl.constexpr,
    SESSIONS: tl.constexpr,
) -> None:
    # Neighbouring threads write neighbouring places of (stock, field); what they read lies in six
    # rows whose lines the next threads find in the first-level cache.
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    stock = place // FIELDS
    field = place % FIELDS
    there = stock < stocks
    column = tl.load(columns + stock, there, 0).to(tl.int32)
    own = base + t.to(tl.int64) * FIELDS * assets
    if LEVEL != "none":
        is_volume = field == FIELDS - 1
        level = tl.load(own + CLOSE * assets + column, there & (field != FIELDS - 1), 1.0)
        if LEVEL == "mean":
            second = tl.load(volume + column, there & is_volume, 1.0)
        else:
            second = tl.load(own + (FIELDS - 1) * assets + column, there & is_volume, 1.0)
        level = tl.where(is_volume, second, level)
    for step in tl.static_range(SESSIONS):
        session = tl.program_id(1) * SESSIONS + step
        inside = there & (session < LOOK_BACK)
        row = (t - (LOOK_BACK - 1) + session).to(tl.int64) * FIELDS * assets
        x = tl.load(base + row + field * assets + column, inside, 0.0)
        if LEVEL != "none":
            x = tl.div_rn(x, level)
            if LEVEL == "mean":
                x -= 1.0
        if STANDARD:
            at = statistics + session * FIELDS + field
            low = tl.load(at, inside, 0.0)
            high = tl.load(at + LOOK_BACK * FIELDS, inside, 0.0)
            mean = tl.load(at + 2 * LOOK_BACK * FIELDS, inside, 0.0)
            inverse = tl.load(at + 3 * LOOK_BACK * FIELDS, inside, 0.0)
            x = (_clip(x, low, high) - mean) * inverse
        x = tl.where(_is_finite(x), x, 0.0)
        to = out + session.to(tl.int64) * stocks * WIDTH + OFFSET
        tl.store(to + stock * WIDTH + field, x, inside)


def cut(
    base: Tensor,
    t: int,
    columns: Tensor,
    out: Tensor,
    offset: int,
    statistics: Tensor | None,
    level: str,
    close: int,
    volume: Tensor | None,
) -> None:
    """Gather a window, bring it to its level, standardise it and write it where it belongs.

    Parameters
    ----------
    base : Tensor of float32, shape (T, F, N)
        Contiguous; volume is the last field.
    t : int
    columns : Tensor of int64, shape (B,)
    out : Tensor of float32, shape (L, B, W)
        Contiguous; its channels from `offset` on are written, what is not finite as 0.
    offset : int
    statistics : Tensor of float32, shape (4, L, F), optional
        As `moments` gives them; without, values are not standardised.
    level, close, volume
        As for `moments`.
    """
    fields, assets = base.shape[1:]
    look_back, stocks, width = out.shape
    grid = (triton.cdiv(stocks * fields, _PLACES), triton.cdiv(look_back, _SESSIONS))
    with torch.cuda.device_of(base):
        _cut[grid](
            base,
            columns,
            base if volume is None else volume,
            base if statistics is None else statistics,
            out,
            t,
            assets,
            stocks,
            fields,
            look_back,
            close,
            level,
            statistics is not None,
            width,
            offset,
            _PLACES,
            _SESSIONS,
            **_OPTIONS,
        )
