"""The test machinery tested: a fault that does not happen proves nothing."""
