"""Whether Triton's kernels run on a device; where a GPU cannot have them, one line says why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import warnings
from functools import cache

import torch

__all__ = ["runs_triton"]

# The first that the kernels ran with.
_OLDEST = (3, 6)


def runs_triton(device: torch.device) -> bool:
    """Whether Triton's kernels run on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    bool
        On a GPU, where Triton is installed and compiles for it; the first time that it does not,
        a warning says why. On a CPU, where Triton is installed: its interpreter runs them.
    """
    if device.type != "cuda":
        return importlib.util.find_spec("triton") is not None
    index = torch.cuda.current_device() if device.index is None else device.index
    return _compiles(torch.device("cuda", index))


@cache
def _compiles(device: torch.device) -> bool:
    """Probe a GPU once."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        from factorlab.kernels.triton_windows import why_not

        problem = _too_old() or why_not(device)
    except ImportError as error:  # a Triton without what the kernels use
        problem = str(error)
    if problem:
        warnings.warn(
            f"on {device} torch does what Triton's kernels would do faster: {problem}",
            RuntimeWarning,
            stacklevel=3,
        )
    return not problem


def _too_old() -> str:
    found = importlib.metadata.version("triton")
    if tuple(map(int, re.findall(r"\d+", found)[:2])) >= _OLDEST:
        return ""
    return f"Triton must be {'.'.join(map(str, _OLDEST))} or later; got {found}; update torch"
