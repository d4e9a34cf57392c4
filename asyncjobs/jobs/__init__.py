"""The values and calls of a user's code: jobs, batches, chains, events, schedules."""
