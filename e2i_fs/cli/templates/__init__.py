"""What `e2i-fs init` writes."""
