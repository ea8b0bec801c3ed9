"""Snapshots brought back, and drills that prove that they can be."""
