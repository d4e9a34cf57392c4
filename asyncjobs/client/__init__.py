"""Enqueue, await, read: what an application does, over connections of its own and the caller's."""
