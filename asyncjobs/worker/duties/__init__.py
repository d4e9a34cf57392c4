"""What each worker does for all: rescue, due times, batches, schedules, cancellations."""
