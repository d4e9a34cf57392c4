"""Modules that define jobs: their origin, importing them, programs that must not be imported."""
