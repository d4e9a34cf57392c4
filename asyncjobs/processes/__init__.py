"""Worker processes: started, signalled, supervised, and forked for jobs."""
