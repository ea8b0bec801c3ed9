"""Snapshots of live databases, and signs that one is not needed."""
