"""Tasks that somebody owns: services, retries, what no cancellation cuts."""
