"""Faults that are really injected: what keeper promises has to hold under them."""
