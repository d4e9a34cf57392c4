"""What this program asks of the operating system: forks, interpreters, exit codes, memory."""
