"""keeper beside real applications: `python -m tests.applications [NAME]...`.

Each module installs one program into a temporary folder, has it write, runs keeper's whole
cycle beside it, and asks the program itself whether everything is there.
"""
