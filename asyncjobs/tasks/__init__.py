"""Tasks with an owner: services, their retries, and waits that no cancellation ends early."""
