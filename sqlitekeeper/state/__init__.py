"""keeper's own memory on this host: which run holds which database, and what was seen.

What can be restored is never decided by this memory, only by what lies at the
destination; losing the whole folder costs nothing but one more upload.
"""
