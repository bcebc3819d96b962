"""What is known about the market: store, calendar, trading rules, universe, simulation."""
