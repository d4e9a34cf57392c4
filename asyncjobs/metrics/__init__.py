"""Metrics: one table of families, the counts of this process, and their forms for Prometheus and OpenTelemetry."""
