"""What is stored of a job, as values."""
