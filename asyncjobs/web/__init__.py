"""The dashboard: pages, and JSON of the same, about what waits, fails and runs; needs the extra `web`."""
