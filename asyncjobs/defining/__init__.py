"""What a user writes: jobs, their options, arguments and references. Nothing here does I/O or knows a database."""
