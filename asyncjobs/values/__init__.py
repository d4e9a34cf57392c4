"""Arguments, results and attributes: from Python to JSON and back, in the types they are annotated with."""
