"""The only room that speaks to PostgreSQL: connections, migrations, statements, and typed functions over plain values."""
