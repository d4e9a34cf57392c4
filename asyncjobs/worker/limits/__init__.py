"""Limits and rates: which jobs are let pass."""
