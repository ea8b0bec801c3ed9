"""Results as text: for a terminal, a log file or a program. Decides nothing."""
