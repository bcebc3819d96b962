"""Index enhancement: the weekly problem, its backtest, and the tables of both."""
