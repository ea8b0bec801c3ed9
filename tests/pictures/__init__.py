"""The pictures of README, made from real output: `python -m tests.pictures`."""
