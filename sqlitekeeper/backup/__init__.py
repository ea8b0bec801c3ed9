"""Snapshots that can be trusted: taken, proven, shipped with rclone, recorded."""
