"""Pools, their slots, and pauses."""
