"""Duties: work that any worker does for all, as rescue, due times, batches and schedules; and its own cancellations."""
