"""The database: connections, migrations, statements, typed functions over plain values. No other room uses PostgreSQL."""
