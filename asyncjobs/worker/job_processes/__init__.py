"""Jobs in processes of their own: the processes, the messages to and from them, and their ends."""
