"""Errors: what is declared about them, what is decided, what is stored."""
