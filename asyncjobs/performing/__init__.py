"""One attempt: from a claimed row to how it ended, in whatever process."""
