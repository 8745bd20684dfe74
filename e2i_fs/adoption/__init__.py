"""Taking up what is elsewhere: definitions as Python text, other systems' definitions, and moving between backends."""
