"""Background jobs for asyncio Python on PostgreSQL."""
