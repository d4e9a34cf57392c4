"""One attempt: from a claimed row to its outcome, in whatever process."""
