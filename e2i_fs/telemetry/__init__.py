"""What e2i_fs tells about itself: the event types that observers get."""
