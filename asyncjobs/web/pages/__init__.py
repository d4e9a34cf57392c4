"""Pages: each module reads the values of one page, which are also its JSON."""
