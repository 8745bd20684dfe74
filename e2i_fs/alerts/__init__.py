"""Telling people what happens to a store: in the log, and to a webhook."""
