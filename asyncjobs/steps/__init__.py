"""Declared steps: their options, their code, their cursors, and runs of them."""
