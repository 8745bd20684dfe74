"""The backend sqlite for e2i_fs: definitions, history and online rows in one SQLite file."""
