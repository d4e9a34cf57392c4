"""Jobs in processes of their own: started, shared, spoken to, followed to their end."""
