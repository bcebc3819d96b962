"""Forward returns, one pass over the closes."""

from __future__ import annotations

from factorlab.kernels.compiled import jit

__all__ = ["returns_block"]


@jit
def returns_block(close, adjust, delay, horizon, out):  # type: ignore[no-untyped-def]
    """Compute ``C[t+delay+h] / C[t+delay] - 1`` with ``C = close * adjust``.

    Parameters
    ----------
    close, adjust : float64 [m, N]
        Rows from `t` = 0 on; NaN where there is no close.
    delay, horizon : int
    out : float64 [n, N]
        Takes the returns; NaN where a close is missing, or the exit lies after the last row.
    """
    for t in range(len(out)):
        if t + delay + horizon >= len(close):
            out[t, :] = float("nan")
            continue
        for i in range(out.shape[1]):
            entry = close[t + delay, i] * adjust[t + delay, i]
            leave = close[t + delay + horizon, i] * adjust[t + delay + horizon, i]
            out[t, i] = leave / entry - 1.0
