"""Tasks that somebody owns: services, their retries, and waits that no cancellation cuts."""
