"""A database file replaced by another, and brought back; nobody may have it open."""
