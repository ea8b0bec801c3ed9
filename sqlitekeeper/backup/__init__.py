"""Snapshots that can be trusted: taken, checked, uploaded, recorded."""
