"""What `asyncjobs demo` runs: texts in, word clouds out."""
