"""Errors: declarations about them, the decision after an attempt, and their stored form."""
