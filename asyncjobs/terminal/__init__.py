"""What commands show: tables, options, exit codes, logs."""
