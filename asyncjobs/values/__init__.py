"""Values of a job: arguments, results and attributes, from Python to JSON and back in their annotated types."""
