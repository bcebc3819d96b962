"""IC statistics, group backtests, performance and correlation of factors."""
