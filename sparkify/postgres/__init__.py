"""Where Postgres is, what runs in it, and who else uses it."""
