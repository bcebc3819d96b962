"""One module a vendor shape; each yields the tables that `ingest` checks."""
