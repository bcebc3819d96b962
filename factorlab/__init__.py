"""factorlab: from daily market data to a factor tear sheet."""

__version__ = "0.1.0"
