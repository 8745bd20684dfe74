"""The backend acme for e2i_fs."""
