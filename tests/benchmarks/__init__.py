"""Measurements of keeper beside what else one would use: `python -m tests.benchmarks --help`.

Nothing here is a test, and no figure decides whether one passes.
"""
