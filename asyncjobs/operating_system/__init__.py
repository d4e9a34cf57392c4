"""The operating system: forks, interpreters, exit codes, memory."""
