"""Rows into tables: row by row or by COPY, by the conflict rules of sql_queries."""
