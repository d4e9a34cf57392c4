"""What a user has in hand: jobs, batches, chains, events, schedules."""
