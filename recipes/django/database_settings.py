"""For settings.py, in place of its DATABASES. Needs Django 5.1 or newer."""

from pathlib import Path

# Outside of the code, which the next deploy replaces.
DATA = Path("/srv/app/data")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "db.sqlite3",
        "OPTIONS": {
            # Waits for other writers at its start, for up to `timeout` seconds. The default
            # (DEFERRED) begins by reading, and fails at once when it then has to write and
            # somebody else has written meanwhile.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            "init_command": "PRAGMA journal_mode = wal; PRAGMA synchronous = normal;",
        },
    }
}
