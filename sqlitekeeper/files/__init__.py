"""Folders beside the databases, synced by rclone; SQLite databases are left out."""
