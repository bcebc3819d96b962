"""The networks beside their settings, and the losses."""
