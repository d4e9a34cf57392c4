"""Kinds of jobs: their options, fields and callbacks, and the registry of all kinds."""
