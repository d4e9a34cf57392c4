"""Writing: the ends of attempts, and the records of their steps."""
