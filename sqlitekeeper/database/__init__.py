"""Everything that touches a live database file.

No module here ever opens such a file except through SQLite: `open()` and
`close()` on it would drop the POSIX locks that this process holds (see
https://sqlite.org/howtocorrupt.html, section 2.2).
"""
