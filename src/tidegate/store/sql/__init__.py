"""The metadata database: the same tables on SQLite and Postgres. The only place that knows SQLAlchemy."""
