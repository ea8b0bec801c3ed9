"""Notifications of how a run went: pings as healthchecks.io takes them, and commands."""
