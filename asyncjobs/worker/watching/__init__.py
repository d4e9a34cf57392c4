"""The watch on the event loop: what blocks it, for how long, and where that code stands."""
