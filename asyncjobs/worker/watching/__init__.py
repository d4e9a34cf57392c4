"""The watch on the event loop: code that blocks it, for how long, and at which line."""
