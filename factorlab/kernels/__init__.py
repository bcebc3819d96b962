"""Compiled inner loops (numba): no knowledge of markets, arrays in, arrays out."""
