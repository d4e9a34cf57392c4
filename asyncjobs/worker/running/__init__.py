"""Attempts, from their start to their end."""
