"""Probes: a small HTTP server for health checks, what a supervisor hears of its processes, and systemd's notifications."""
