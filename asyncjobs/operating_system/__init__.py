"""What this program asks of the operating system: forks, child processes."""
