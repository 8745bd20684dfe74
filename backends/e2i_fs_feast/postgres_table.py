"""The table in which a PostgreSQL offline store keeps what is written through e2i_fs."""

from __future__ import annotations

__all__ = ["CREATE", "TABLE"]

TABLE = "e2i_fs_history"
CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    project text NOT NULL, name text NOT NULL, batch text NOT NULL, content text NOT NULL, rows bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (project, name, batch))"""
