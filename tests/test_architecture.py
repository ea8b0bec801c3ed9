"""The rooms of the package, their order, and the rules that hold in all of them."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sqlitekeeper
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "sqlitekeeper"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Ground that anyone may import: errors, events, words, threads, waits, and what hides secrets.
EVERYWHERE = {"errors", "events", "lock_wait", "redaction", "result", "wording", "workers", ""}
WORK = {"backup", "restore", "diff", "files", "report", "doctor"}
KNOWLEDGE = {"state", "destination", "database", "store", "rclone", "filesystem"}
MAY_IMPORT = {
    "filesystem": set(),
    "rclone": {"filesystem"},
    # Which destinations are remotes is for rclone to say.
    "config": {"rclone"},
    "notify": set(),
    "database": {"filesystem"},
    "destination": {"rclone", "filesystem", "database", "store"},
    "store": {"filesystem"},
    "state": {"destination", "database", "filesystem"},
    **dict.fromkeys(WORK, KNOWLEDGE | {"config"}),
    "doctor": KNOWLEDGE | {"config", "files"},
    # Result types only, under TYPE_CHECKING.
    "output": set(),
    "cli": WORK | KNOWLEDGE | {"config", "output", "notify"},
    **{name: set() for name in EVERYWHERE},
}
MOST_MODULES = 16


def room_of(module: Path) -> str:
    """The room that a module is in; "" for the package's own modules."""
    parts = module.relative_to(PACKAGE).parts
    name = parts[0].removesuffix(".py")
    return "" if name.startswith("__") else name


def imported_rooms(module: Path) -> set[str]:
    """The rooms that a module imports from while it runs."""
    tree = ast.parse(module.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    rooms = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.module == "sqlitekeeper":
                names = [f"sqlitekeeper.{alias.name}" for alias in node.names]
            else:
                names = [node.module or ""]
        for name in names:
            if name == "sqlitekeeper" or name.startswith("sqlitekeeper."):
                parts = name.split(".")
                known = len(parts) > 1 and parts[1] in MAY_IMPORT
                rooms.add(parts[1] if known else "")
    return rooms


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_data_flows_one_way_through_the_rooms(module: Path) -> None:
    """A room imports only from those below it."""
    room = room_of(module)
    if room:
        assert imported_rooms(module) <= MAY_IMPORT[room] | EVERYWHERE | {room}


def test_no_work_room_imports_another() -> None:
    """But doctor, which looks at the folders of [[files]]."""
    assert all(not MAY_IMPORT[room] & WORK for room in WORK - {"doctor"})


def test_no_room_has_too_many_modules() -> None:
    """16 at the most, each sub-room by itself."""
    rooms = Counter(module.parent for module in MODULES if module.name != "__init__.py")
    assert {room.name: count for room, count in rooms.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_module_says_what_it_is_for(module: Path) -> None:
    """Its docstring's first line is one sentence."""
    first = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]
    assert first.endswith((".", ":"))


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_module_is_too_long(module: Path) -> None:
    """350 lines at the most."""
    assert len(module.read_text().splitlines()) <= 350


def test_only_two_modules_run_processes() -> None:
    """One runs rclone, the other what [notify] names."""
    users = [m.relative_to(PACKAGE).as_posix() for m in MODULES if "subprocess" in imports(m)]
    assert users == ["notify/command.py", "rclone/process.py"]


def test_only_the_ping_opens_connections() -> None:
    """Everything else leaves the network to rclone, which is spoken to on this host alone.

    urllib.parse is no network.
    """
    users = [m.relative_to(PACKAGE).as_posix() for m in MODULES if opens_connections(m)]
    assert users == ["notify/ping.py"]
    users = [
        m.relative_to(PACKAGE).as_posix() for m in MODULES if "socket.socket(" in m.read_text()
    ]
    assert users == ["rclone/daemon.py"]


def opens_connections(module: Path) -> bool:
    """Whether a module imports what speaks HTTP or TLS."""
    tree = ast.parse(module.read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return not names.isdisjoint({"urllib.request", "http.client", "ssl"})


def test_the_standard_librarys_sqlite3_is_not_used() -> None:
    """It would drop the locks that apsw holds in the same process."""
    assert not [m for m in MODULES if "sqlite3" in imports(m)]


def imports(module: Path) -> set[str]:
    """The top-level modules that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_top_level_holds_what_the_design_names() -> None:
    """And dot-files."""
    entries = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".")}
    allowed = {"pyproject.toml", "README.md", "sqlitekeeper", "tests", "recipes"}
    # What setuptools leaves behind is ignored by git.
    assert entries - {"build", "sqlitekeeper.egg-info", "findings"} == allowed


def test_public_names_can_be_imported() -> None:
    """Also those that have another name by now."""
    assert all(getattr(sqlitekeeper, name) for name in sqlitekeeper.__all__)


def test_keeper_version_does_not_load_the_command_line() -> None:
    """It is as quick as Python itself only as long as click and the like stay out."""
    program = (
        "import sys; sys.argv = ['keeper', '--version']\n"
        "from sqlitekeeper.__main__ import main; main()\n"
        "print(sorted({'click', 'humanize', 'subprocess', 'tomllib'} & sys.modules.keys()))\n"
    )
    lines = []
    # The first run asks rclone and remembers; the second is the usual case.
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
            text=True,
        )
        lines = done.stdout.splitlines()
    assert lines[0].startswith("keeper ")
    assert "SQLite" in lines[0]
    assert "rclone v1." in lines[0]
    assert lines[1] == "[]"
