"""`keeper report`: how large databases are, how they grow, and what to do about it."""
