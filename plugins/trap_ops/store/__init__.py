"""The results database: one file a noun, with its queries. Only here are column names known."""
