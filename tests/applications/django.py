"""Django: its ORM in WAL mode, and a user who logs in."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.applications.host import PYTHON
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50, USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions", "django.contrib.admin"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1] + "/db.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode = wal; PRAGMA synchronous = normal"},
    }},
)
django.setup()
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, models
class Note(models.Model):
    number = models.IntegerField(unique=True)
    text = models.TextField()
    word = models.CharField(max_length=20, db_index=True)
    author = models.ForeignKey(User, models.CASCADE)
    class Meta:
        app_label = "notes"
if "notes_note" not in connection.introspection.table_names():
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Note)
    User.objects.create_superuser("ada", "ada@example.org", "a long password")
author = authenticate(username="ada", password="a long password")
assert author is not None, "the user cannot log in"
def write(number, text, word):
    Note.objects.create(number=number, text=text, word=word, author=author)
serve(
    write=write,
    forget=lambda numbers: Note.objects.filter(number__in=numbers).delete(),
    notes=lambda: list(Note.objects.filter(author=author).values_list("number", "text")),
    find=lambda word: list(
        Note.objects.filter(word=word).order_by("number").values_list("number", flat=True)),
)
connection.close()
"""


class Django(ScriptedApplication):
    """A model beside the tables of Django's own applications."""

    name = "Django"
    version = "5.2.19"
    databases = ("db.sqlite3",)
    search = "the ORM"

    def install(self) -> None:
        """From PyPI."""
        self.environment = self.host.python(f"Django=={self.version}")

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]
