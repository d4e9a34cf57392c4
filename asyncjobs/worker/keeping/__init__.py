"""The worker's lease, kept by a thread beside the loop, and the watch on the loop."""
