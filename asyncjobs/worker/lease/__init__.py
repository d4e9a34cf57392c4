"""The lease of a worker: renewed by a thread beside the event loop, with what the worker reports of itself."""
