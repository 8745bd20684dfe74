"""Several backends behind one protocol: who is up, who would answer the same, and who therefore may answer."""
