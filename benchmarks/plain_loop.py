"""The plain loop that trainings are timed beside, and the market it is fed from."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from factorlab.features import FIELDS
from factorlab.training.data import Batch
from factorlab.training.job import LOSSES

HIDDEN, PATCH, TREND, GROUPS = 64, 3, 5, 5


class Market:
    """A seeded market in memory with the attributes that windows and labels read."""

    def __init__(self, sessions: int, stocks: int) -> None:
        rng = np.random.default_rng(0)
        self.hash, self.simulated = f"{0:064x}", True
        days = np.arange(np.datetime64("2015-01-01"), np.datetime64("2015-01-01") + 2 * sessions)
        self.dates = days[np.is_busday(days)][:sessions]
        self.assets = np.array([f"{600000 + k}.SH" for k in range(stocks)])
        shape = (sessions, stocks)
        close = 10 * np.exp(np.cumsum(0.02 * rng.standard_normal(shape), axis=0))
        self.data = {name: close * (1 + 0.01 * rng.random(shape)) for name in FIELDS[:5]}
        self.data |= {"close": close, "volume": np.exp(12 + rng.standard_normal(shape))}
        self.data |= {"adj_factor": np.ones(shape), "split_factor": np.ones(shape)}
        shares = np.exp(18 + rng.standard_normal((1, stocks)))
        self.data["total_shares"] = np.repeat(shares, sessions, axis=0)
        self.data["industry"] = np.tile((np.arange(stocks) % 30).astype(np.int16), (sessions, 1))

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


class PlainDecompGRU(nn.Module):
    """DecompGRU as one would write it, batch first."""

    def __init__(self) -> None:
        super().__init__()
        fields = len(FIELDS)
        self.patch = nn.Conv1d(fields, HIDDEN, PATCH, PATCH)
        self.trend_gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.depthwise = nn.Conv1d(fields, fields, PATCH, PATCH, groups=fields)
        self.pointwise = nn.Conv1d(fields, HIDDEN, 1)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.norm, self.linear = nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """Score windows (B, L, F)."""
        x = x.transpose(1, 2)
        padded = nn.functional.pad(x, (TREND - 1, 0), mode="replicate")
        trend = nn.functional.avg_pool1d(padded, TREND, 1)
        states, _ = self.trend_gru(self.patch(trend).transpose(1, 2))  # (B, S, d)
        group = size.argsort(stable=True).argsort() * GROUPS // len(size)
        member = nn.functional.one_hot(group, GROUPS).float()  # (B, G)
        means = (member / member.sum(0)).t() @ states.flatten(1)  # (G, S·d)
        states = states - (member @ means).view_as(states)
        residual = self.pointwise(self.depthwise(x - trend)).transpose(1, 2)
        states, _ = self.gru(states + residual)
        return self.linear(self.norm(states[:, -1])).squeeze(-1)


PLAIN = {"GRU": PlainGRU, "DecompGRU": PlainDecompGRU}


class Plain:
    """The plain loop: a network, its optimiser and its loss."""

    def __init__(self, model: str, device: torch.device) -> None:
        self.device, self.network = device, PLAIN[model]().to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def learn(self, batch: Batch, label: np.ndarray) -> None:
        """Take one step."""
        target = torch.from_numpy(label.astype(np.float32)).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        LOSSES["ic"](self.network(batch.x, batch.size), target).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 3.0)
        self.optimizer.step()
