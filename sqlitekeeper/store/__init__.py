"""How a snapshot is stored: compressed, or as what changed since another one.

Standard zstd throughout: `zstd -d` gives a whole snapshot back byte for byte, and
`zstd -d --patch-from` each piece of a delta.
"""
