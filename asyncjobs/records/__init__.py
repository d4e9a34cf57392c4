"""Stored facts about a job, as values."""
