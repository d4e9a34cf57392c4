"""What is written: how attempts end, and what they record."""
