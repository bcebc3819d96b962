"""One command a stage."""

from __future__ import annotations

# Each module adds its commands to the group.
from factorlab.cli import data, factors, models, results
from factorlab.cli.shared import main

__all__ = ["data", "factors", "main", "models", "results"]
