"""The terminal: tables, options and exit codes of commands."""
