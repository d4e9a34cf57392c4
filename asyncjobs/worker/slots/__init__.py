"""Pools of slots, and what may start in them."""
