"""The client: jobs are enqueued, awaited and read, on connections of its own or of the caller's."""
