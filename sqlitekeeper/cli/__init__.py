"""The command line: parse, call the library, render, exit status. No SQL, no processes."""
