"""Destinations: layout, manifests, catalog, retention. All of it is untrusted input."""
