"""Where keeper.toml is looked for, how it is read, and the defaults."""

import os
from pathlib import Path

import pytest

from sqlitekeeper.config import BackupSettings, NotifySettings, VacuumSettings, read_config
from sqlitekeeper.errors import ConfigError
from tests.config.conftest import Configure


def place(file: Path, pages: int) -> Path:
    """A configuration that can be told from others by its vacuum.pages."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"[vacuum]\npages = {pages}\n")
    return file


@pytest.fixture
def everywhere(
    folder: Path, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A configuration in each place that is searched, numbered in their order."""
    place(tmp_path / "named.toml", 1)
    environ["KEEPER_CONFIG"] = str(place(tmp_path / "environ.toml", 2))
    place(folder / "keeper.toml", 3)
    place(tmp_path / "xdg/keeper/keeper.toml", 4)
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    place(tmp_path / "home/.config/keeper/keeper.toml", 5)
    system = place(tmp_path / "etc/keeper.toml", 6)
    monkeypatch.setattr("sqlitekeeper.config.loading._SYSTEM_CONFIG", system)
    return environ


def test_an_explicit_file_comes_first(everywhere: dict[str, str], tmp_path: Path) -> None:
    """--config wins over everything."""
    assert read_config(tmp_path / "named.toml", everywhere).vacuum.pages == 1


def test_the_places_are_searched_in_order(
    everywhere: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    """$KEEPER_CONFIG, working folder, $XDG_CONFIG_HOME, ~/.config, /etc."""
    seen = [read_config(None, everywhere).vacuum.pages]
    del everywhere["KEEPER_CONFIG"]
    seen.append(read_config(None, everywhere).vacuum.pages)
    (folder / "keeper.toml").unlink()
    seen.append(read_config(None, everywhere).vacuum.pages)
    del everywhere["XDG_CONFIG_HOME"]
    seen.append(read_config(None, everywhere).vacuum.pages)
    (tmp_path / "home/.config/keeper/keeper.toml").unlink()
    seen.append(read_config(None, everywhere).vacuum.pages)
    assert seen == [2, 3, 4, 5, 6]


def test_empty_variables_count_as_unset(environ: dict[str, str], folder: Path) -> None:
    """KEEPER_CONFIG= in a crontab turns it off."""
    place(folder / "keeper.toml", 3)
    assert read_config(None, {**environ, "KEEPER_CONFIG": ""}).vacuum.pages == 3


def test_no_file_at_all_gives_the_defaults(environ: dict[str, str], tmp_path: Path) -> None:
    """Paths on the command line need no configuration."""
    config = read_config(None, environ)
    assert config.file is None
    assert config.databases == ()
    assert config.state == tmp_path / "state"
    assert (config.vacuum, config.backup) == (VacuumSettings(), BackupSettings())
    assert config.notify == NotifySettings()


def test_the_file_is_shown_as_it_was_found(configure: Configure) -> None:
    """./keeper.toml is keeper.toml in messages and results."""
    assert configure("").file == Path("keeper.toml")


@pytest.mark.parametrize("explicit", [True, False])
def test_a_named_file_that_is_absent_is_refused(environ: dict[str, str], explicit: bool) -> None:
    """Whoever names a file wants that one; the others are not looked at."""
    place(Path("keeper.toml"), 3)
    environ["KEEPER_CONFIG"] = "gone.toml"
    with pytest.raises(ConfigError, match=r"^gone\.toml: no such file") as caught:
        read_config(Path("gone.toml") if explicit else None, environ)
    assert caught.value.hint == ("--config names it" if explicit else "$KEEPER_CONFIG names it")


def test_a_dangling_symlink_is_an_error(environ: dict[str, str], folder: Path) -> None:
    """A broken deployment does not fall back to another configuration."""
    (folder / "keeper.toml").symlink_to("gone.toml")
    with pytest.raises(ConfigError, match=r"^keeper.toml: cannot be read: No such file"):
        read_config(None, environ)


def test_a_folder_is_no_configuration(environ: dict[str, str], folder: Path) -> None:
    """A folder called keeper.toml is one clear line."""
    (folder / "keeper.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^keeper.toml: is a folder, not a configuration file$"):
        read_config(None, environ)


def test_an_unreadable_file_is_refused(
    environ: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system says about the file is passed on."""
    file = place(folder / "keeper.toml", 3)
    file.chmod(0)
    if os.access(file, os.R_OK):  # root may read everything but what is no file
        file.unlink()
        file.symlink_to("keeper.toml")
    with pytest.raises(ConfigError, match=r"^keeper.toml: cannot be read: "):
        read_config(None, environ)


def test_a_file_that_is_not_utf8_names_the_line(environ: dict[str, str], folder: Path) -> None:
    """Latin-1 in a comment is found without a hex editor."""
    (folder / "keeper.toml").write_bytes(b"# one\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"^keeper.toml: line 2: is not UTF-8; save"):
        read_config(None, environ)


def test_a_byte_order_mark_is_ignored(environ: dict[str, str], folder: Path) -> None:
    """Some editors write one."""
    (folder / "keeper.toml").write_bytes(b"\xef\xbb\xbf[vacuum]\npages = 3\n")
    assert read_config(None, environ).vacuum.pages == 3


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[vacuum]\npages = \n", "line 2, column 9: not valid TOML: Invalid value"),
        ("[vacuum\n", "line 1, column 8: not valid TOML: "),
        ("state = 'x", "line 1, column 11: not valid TOML: "),
        ("state = '1'\nstate = '2'\n", "line 2, column 12: not valid TOML: Cannot overwrite"),
    ],
)
def test_a_syntax_error_names_line_and_column(configure: Configure, text: str, place: str) -> None:
    """Also at the end of the document."""
    with pytest.raises(ConfigError) as caught:
        configure(text)
    assert caught.value.message.startswith(f"keeper.toml: {place}")


@pytest.mark.parametrize("text", ["a = " + "[" * 10_000, f"a = {'9' * 5000}"])
def test_what_upsets_the_toml_parser_is_still_one_line(configure: Configure, text: str) -> None:
    """Deep nesting and endless numbers are no tracebacks."""
    with pytest.raises(ConfigError, match=r"\Akeeper.toml: [^\n]+\Z"):
        configure(text)


def test_state_in_the_file_wins(configure: Configure, folder: Path) -> None:
    """It is relative to the file, and wins over $KEEPER_STATE."""
    assert configure("state = 'memory'").state == folder / "memory"


def test_state_of_root_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without $KEEPER_STATE, root keeps its state in /var/lib/keeper."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert read_config(None, {"HOME": "/root"}).state == Path("/var/lib/keeper")


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.local/state/keeper"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "/x"}, "/x/keeper"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "x"}, "/home/ann/.local/state/keeper"),
        ({"HOME": "/home/ann", "KEEPER_STATE": "~/k", "XDG_STATE_HOME": "/x"}, "/home/ann/k"),
    ],
)
def test_state_of_a_user_is_below_the_home_folder(
    environ: dict[str, str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$KEEPER_STATE first, then XDG's folder, which counts only when it is absolute."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert read_config(None, environ).state == Path(state)


def test_paths_are_relative_to_the_file(environ: dict[str, str], tmp_path: Path) -> None:
    """Cron's working folder has no say in what a configuration means."""
    file = tmp_path / "etc/keeper.toml"
    file.parent.mkdir()
    file.write_text(
        """
        state = "state"
        rclone = "bin/rclone"
        [[databases]]
        path = "../app.sqlite3"
        [backup]
        to = ["copies", "~/copies", "b2:bucket"]
        staging = "staging"
        [[files]]
        name = "uploads"
        path = "uploads"
        to = "elsewhere/uploads"
        [notify]
        on_failure = ["./alert", "./argument"]
        """
    )
    config = read_config(file, environ)
    etc = file.parent
    assert config.state == etc / "state"
    assert config.rclone == str(etc / "bin/rclone")
    assert config.databases[0].path == tmp_path / "app.sqlite3"
    assert config.backup.to == (str(etc / "copies"), str(tmp_path / "home/copies"), "b2:bucket")
    assert config.backup.staging == etc / "staging"
    assert (config.files[0].path, config.files[0].to) == (
        etc / "uploads",
        str(etc / "elsewhere/uploads"),
    )
    assert config.notify.on_failure == (str(etc / "alert"), "./argument")


def test_a_program_without_a_separator_is_left_to_path(configure: Configure) -> None:
    """rclone = "rclone" is not ./rclone."""
    assert configure('rclone = "rclone-v1.60"').rclone == "rclone-v1.60"
