"""Exhibits, figures and the HTML page."""
