"""Attempts that run, from their start to their end."""
