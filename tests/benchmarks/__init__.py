"""Measurements of keeper beside its alternatives: `python -m tests.benchmarks --help`.

Nothing here is a test, and no figure decides whether one passes.
"""
