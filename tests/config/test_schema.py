"""What every key of keeper.toml may be, and the exact words about what it may not."""

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.config import (
    BackupSettings,
    Config,
    FileSet,
    NotifySettings,
    VacuumSettings,
    read_config,
)
from sqlitekeeper.config.position import Source
from sqlitekeeper.config.schema import parse_document
from sqlitekeeper.errors import ConfigError
from tests.config.conftest import Configure


def test_every_key_is_read(configure: Configure) -> None:
    """The configuration of the design, each key away from its default."""
    config = configure(
        """
        state = "/var/lib/k"
        rclone = "/usr/bin/rclone"
        [vacuum]
        pages = 0
        max_lock_ms = 50
        keep_free_pages = 10
        optimize = true
        [backup]
        to = "b2:my-bucket/{hostname}"
        staging = "/srv/tmp"
        check = "quick"
        max_age = "1h30m"
        prune = false
        keep_last = 2
        keep_hourly = 3
        keep_daily = 4
        keep_weekly = 5
        keep_monthly = 6
        keep_yearly = 8
        rclone_args = ["--bwlimit", "8M"]
        timeout = "90s"
        loss_alarm = 0.25
        [[files]]
        name = "active-storage"
        path = "/srv/app/storage"
        to = "b2:my-bucket/files/{hostname}"
        exclude = ["tmp/**"]
        max_delete = 250
        [notify]
        ping_url = "https://hc-ping.com/<key>/{hostname}-{command}"
        commands = ["backup", "drill"]
        on_failure = ["/usr/local/bin/alert", "--loud"]
        on_success = ["logger"]
        """
    )
    assert config == Config(
        file=Path("keeper.toml"),
        state=Path("/var/lib/k"),
        rclone="/usr/bin/rclone",
        vacuum=VacuumSettings(pages=0, max_lock_ms=50, keep_free_pages=10, optimize=True),
        backup=BackupSettings(
            to=("b2:my-bucket/web1",),
            staging=Path("/srv/tmp"),
            check="quick",
            max_age_seconds=5400,
            prune=False,
            keep_last=2,
            keep_hourly=3,
            keep_daily=4,
            keep_weekly=5,
            keep_monthly=6,
            keep_yearly=8,
            rclone_args=("--bwlimit", "8M"),
            timeout_seconds=90,
            loss_alarm=0.25,
        ),
        files=(
            FileSet(
                "active-storage",
                Path("/srv/app/storage"),
                "b2:my-bucket/files/web1",
                ("tmp/**",),
                max_delete_files=250,
                max_delete_percent=100.0,
            ),
        ),
        notify=NotifySettings(
            ping_url="https://hc-ping.com/<key>/web1-{command}",
            commands=("backup", "drill"),
            on_failure=("/usr/local/bin/alert", "--loud"),
            on_success=("logger",),
        ),
    )


def test_defaults_are_those_of_the_design() -> None:
    """What an empty file means."""
    assert VacuumSettings() == VacuumSettings(1000, 100, 0, False)
    assert BackupSettings() == BackupSettings(
        (), "plain", Path("/var/tmp"), "integrity", 93600, True, 1, 0, 7, 4, 12, 0, (), 0.5, 600
    )


def test_hostname_is_this_host(
    environ: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """{hostname} is what the system calls itself."""
    monkeypatch.setattr(socket, "gethostname", lambda: "db7")
    (folder / "keeper.toml").write_text("[backup]\nto = 'b2:x/{hostname}'\n")
    assert read_config(None, environ).backup.to == ("b2:x/db7",)


def test_keeping_nothing_is_fine_without_prune(configure: Configure) -> None:
    """The bucket's lifecycle rules may do the deleting."""
    zero = "\n".join(
        f"keep_{rule} = 0" for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    )
    assert configure(f"[backup]\nprune = false\n{zero}").backup.keep_daily == 0


@pytest.mark.parametrize("share", [0, 1])
def test_loss_alarm_may_be_a_whole_number(configure: Configure, share: int) -> None:
    """0 for none and 1 for all need no decimal point."""
    assert configure(f"[backup]\nloss_alarm = {share}").backup.loss_alarm == share


@pytest.mark.parametrize(
    ("written", "files", "percent"),
    [("0", 0, 100.0), ("12", 12, 100.0), ("'25%'", None, 25.0), ("'2.5 %'", None, 2.5)],
)
def test_max_delete_is_a_number_or_a_percentage(
    configure: Configure, written: str, files: int | None, percent: float
) -> None:
    """And without it, a thousand or a tenth, whichever is less."""
    (one,) = configure(f"{FILES}max_delete = {written}").files
    (default,) = configure(FILES).files

    assert (one.max_delete_files, one.max_delete_percent) == (files, percent)
    assert (default.max_delete_files, default.max_delete_percent) == (1000, 10.0)


@pytest.mark.parametrize(
    ("written", "mode"),
    [("true", "truncate"), ("false", "none"), ("'passive'", "passive"), ("'none'", "none")],
)
def test_checkpoint_is_a_mode_or_yes_or_no(configure: Configure, written: str, mode: str) -> None:
    """What old configurations say goes on to mean what it meant."""
    assert configure(f"[vacuum]\ncheckpoint = {written}").vacuum.checkpoint == mode


FILES = "[[files]]\nname = 'u'\npath = 'u'\nto = 'b2:u'\n"
BAD = [
    # unknown keys
    ("[backup]\nkeep_dayly = 1", "backup.keep_dayly: unknown key; did you mean keep_daily?"),
    (
        "[vacuum]\nzzz = 1",
        (
            "vacuum.zzz: unknown key; valid keys:"
            " pages, max_lock_ms, keep_free_pages, optimize, checkpoint"
        ),
    ),
    ("[[database]]\npath = 'x'", "database: unknown key; did you mean databases?"),
    ("[[databases]]\npath = 'x'\nnmae = 'y'", "databases[0].nmae: unknown key; did you mean name?"),
    (
        '"a\\nb" = 1',
        "'a\\nb': unknown key; valid keys: state, rclone, databases, vacuum, backup, files, notify",
    ),
    # wrong types
    ("vacuum = 1", "vacuum: must be a table, not 1"),
    ("backup = []", "backup: must be a table, not a list"),
    ("[vacuum]\npages = true", "vacuum.pages: must be a whole number, not true"),
    ("[vacuum]\npages = 1.0", "vacuum.pages: must be a whole number, not 1.0"),
    ("[vacuum]\npages = '7'", 'vacuum.pages: must be a whole number, not "7"'),
    ("[vacuum]\npages = 2026-11-23", "vacuum.pages: must be a whole number, not a date or time"),
    (
        "[vacuum]\ncheckpoint = 1",
        "vacuum.checkpoint: must be one of truncate, passive, none, not 1",
    ),
    ("[vacuum]\noptimize = 1", "vacuum.optimize: must be true or false, not 1"),
    ("state = 5", "state: must be a text in quotes, not 5"),
    ("rclone = false", "rclone: must be a text in quotes, not false"),
    ("databases = 'x'", "databases: must be a list in [brackets], not a text"),
    ("[databases]\npath = 'x'", "databases: must be a list of tables; write [[databases]]"),
    ("databases = ['x']", 'databases[0]: must be a table, not "x"'),
    (
        "[[databases]]\npath = '*'\nexclude = 'x'",
        "databases[0].exclude: must be a list in [brackets], not a text",
    ),
    (
        "[[databases]]\npath = '*'\nexclude = ['x', 1]",
        "databases[0].exclude[1]: must be a text in quotes, not 1",
    ),
    (
        "[[databases]]\npath = 'x'\nbackup = 'no'",
        'databases[0].backup: must be true or false, not "no"',
    ),
    ("[backup]\nto = 1", "backup.to: must be a list in [brackets], not 1"),
    ("[backup]\nto = ['b2:', {}]", "backup.to[1]: must be a text in quotes, not a table"),
    ("[backup]\nmax_age = 26", 'backup.max_age: must be a duration such as "26h", not 26'),
    (
        "[backup]\nrclone_args = '-v'",
        "backup.rclone_args: must be a list in [brackets], not a text",
    ),
    ("[backup]\nloss_alarm = true", "backup.loss_alarm: must be a number from 0 to 1, not true"),
    (
        "[backup]\nloss_alarm = '50 %'",
        'backup.loss_alarm: must be a number from 0 to 1, not "50 %"',
    ),
    (
        "[notify]\non_failure = 'alert'",
        "notify.on_failure: must be a list in [brackets], not a text",
    ),
    # impossible values
    ("[vacuum]\npages = -1", "vacuum.pages: must be from 0 to 2147483647, not -1"),
    ("[vacuum]\nmax_lock_ms = 0", "vacuum.max_lock_ms: must be from 1 to 2147483647, not 0"),
    (
        f"[backup]\nkeep_last = 0x{'f' * 5000}",
        "backup.keep_last: must be from 0 to 2147483647, not a number that large",
    ),
    (
        "[backup]\nkeep_last = 0\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0",
        (
            "backup: every keep_* is 0, so that prune would delete all snapshots;"
            " keep some, or set prune = false"
        ),
    ),
    (
        "[backup]\ncheck = 'fast'",
        'backup.check: must be one of integrity, quick, none, not "fast"',
    ),
    (
        "[backup]\nmax_age = '26'",
        (
            "backup.max_age: '26' is not a duration; write a number and a unit (w, d, h, m or s),"
            " such as 26h, 7d or 1h30m"
        ),
    ),
    ("[backup]\nmax_age = '0s'", "backup.max_age: '0s' must be more than 0s and at most a century"),
    ("state = ''", "state: must not be empty; leave the key out for its default"),
    ('state = "a\\u0000b"', "state: must not contain a NUL character"),
    ("[backup]\nloss_alarm = 50", "backup.loss_alarm: must be from 0 to 1, not 50"),
    ("[backup]\nloss_alarm = -0.1", "backup.loss_alarm: must be from 0 to 1, not -0.1"),
    ("[backup]\nloss_alarm = nan", "backup.loss_alarm: must be from 0 to 1, not nan"),
    ("[backup]\nto = ''", "backup.to: must not be empty; leave the key out for its default"),
    ("[backup]\nto = []", "backup.to: must name a destination; leave the key out for none"),
    ("[backup]\nto = ['b2:x', 'b2:x']", 'backup.to[1]: "b2:x" is in the list twice'),
    ("[backup]\nto = '-v:x'", "backup.to: -v:x: no remote has a name that starts with -"),
    ("[backup]\nto = 'b2:{stem}'", "backup.to: unknown placeholder {stem}; valid here: {hostname}"),
    ("[backup]\nto = 'b2:{'", "backup.to: a brace that is no placeholder; valid here: {hostname}"),
    ("[backup]\nto = 'b2:}{'", "backup.to: a brace that is no placeholder; valid here: {hostname}"),
    ("[[databases]]\nname = 'x'", "databases[0].path: is missing"),
    (
        "[[databases]]\npath = ''",
        "databases[0].path: must not be empty; leave the key out for its default",
    ),
    (
        "[[databases]]\npath = 'x'\nexclude = ['x']",
        "databases[0].exclude: has no use beside a path without *, ? or [",
    ),
    (
        "[[databases]]\npath = 'x'\nname = '../x'",
        "databases[0].name: '../x' cannot be the name of {folder}/x: it contains a path separator",
    ),
    (
        "[[databases]]\npath = 'x'\nname = '{hots}'",
        "databases[0].name: unknown placeholder {hots}; valid here: {stem}, {parent}, {hostname}",
    ),
    (
        "[[databases]]\npath = '/x'\nname = '{parent}'",
        "databases[0].name: {parent} is empty here; write the name out",
    ),
    ("[[files]]\nname = 'u'\npath = 'u'", "files[0].to: is missing"),
    (FILES.replace("'u'", "'-u'", 1), "files[0].name: '-u' cannot be a name: it starts with -"),
    (FILES + FILES, "files[1].name: u is the name of files[0] too"),
    (FILES + "max_delete = -1", "files[0].max_delete: must be from 0 to 2147483647, not -1"),
    (FILES + "max_delete = 0.5", "files[0].max_delete: must be a whole number, not 0.5"),
    *(
        (
            f"{FILES}max_delete = '{text}'",
            'files[0].max_delete: must be a whole number, or from "0%" to "100%", not "'
            + text
            + '"',
        )
        for text in ("10", "101%", "-1%", "ten%", "1e1%")
    ),
    (
        "[notify]\non_failure = []",
        "notify.on_failure: must name a program; leave the key out for none",
    ),
    *(
        (
            f"[notify]\nping_url = '{url}'",
            (
                "notify.ping_url: must be an http:// or https:// address"
                " (it is not shown, since it is a secret)"
            ),
        )
        for url in (
            "ftp://x/",
            "hc-ping.com/x",
            "https://",
            "https://a b/",
            "http://x:port/",
            "http://[x/",
        )
    ),
    (
        "[notify]\nping_url = 'https://x/{host}'",
        "notify.ping_url: may have {hostname} and {command} in it, and no other braces",
    ),
    (
        "[notify]\ncommands = ['backup', 'report']",
        'notify.commands[1]: must be one of backup, files, vacuum, drill, not "report"',
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_configuration_is_refused(
    configure: Configure, folder: Path, text: str, message: str
) -> None:
    """File, key and what to do, on one line."""
    with pytest.raises(ConfigError) as caught:
        configure(text)
    assert caught.value.message == "keeper.toml: " + message.replace("{folder}", str(folder))


def test_a_file_name_that_would_break_the_line_is_escaped(environ: dict[str, str]) -> None:
    """Messages stay on one line whatever the file is called."""
    Path("a\nb.toml").write_text("pages = 1")
    with pytest.raises(ConfigError, match=r"^'a\\nb.toml': pages: unknown key"):
        read_config(Path("a\nb.toml"), environ)


SECTIONS = {
    "": ["state", "rclone", "databases", "vacuum", "backup", "files", "notify"],
    "vacuum": ["pages", "max_lock_ms", "keep_free_pages", "optimize"],
    "backup": [
        *("to", "staging", "check", "max_age", "prune", "rclone_args", "timeout", "loss_alarm"),
        *("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"),
    ],
    "databases": ["path", "name", "exclude", "backup", "optional"],
    "files": ["name", "path", "to", "exclude", "max_delete"],
    "notify": ["ping_url", "commands", "on_failure", "on_success"],
}
WHOLE = {
    "databases": {"path": "app.sqlite3"},
    "files": {"name": "uploads", "path": "uploads", "to": "b2:uploads"},
}
# No slash: a pattern from the root would search the whole machine.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/")) | st.sampled_from(
    ["*", "**", "a*", "[", "~", "{hostname}", "{stem}", "b2:", ":", "-", "26h", "quick", "http:a"]
)
SCALARS = st.one_of(
    TEXTS, st.booleans(), st.integers(), st.floats(), st.dates(), st.times(), st.datetimes()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """What tomllib could return with one key that may be anything, and the path of that key."""
    section = draw(st.sampled_from(sorted(SECTIONS)))
    key = draw(st.sampled_from(SECTIONS[section]) | st.from_regex(r"\A[a-z_]{1,12}\Z"))
    table = {**WHOLE.get(section, {}), key: draw(VALUES)}
    if not section:
        return table, key
    if section in WHOLE:
        return {section: [table]}, f"{section}[0].{key}"
    return {section: table}, f"{section}.{key}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(documents())
def test_any_value_gives_a_configuration_or_a_clear_refusal(
    folder: Path, environ: dict[str, str], document: tuple[dict[str, Any], str]
) -> None:
    """No value crashes; every refusal is one line with the file and the key."""
    content, key = document
    source = Source(Path("keeper.toml"), folder, environ, lambda: "web1")
    try:
        Config(**{"file": None, "state": folder, **parse_document(content, source)})
    except ConfigError as error:
        assert error.message.startswith(f"keeper.toml: {key}")  # noqa: PT017
        assert error.message.isprintable()  # noqa: PT017
