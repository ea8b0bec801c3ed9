"""Commands that are told of a run: what they get, and how they end."""

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from sqlitekeeper.notify.command import run_command
from tests.conftest import Mount, is_running, wait_until

RESULT = '{"ok": false}\n'


def sh(script: str) -> list[str]:
    """A shell script as a command."""
    return ["/bin/sh", "-c", script]


def test_command_gets_summary_and_result(tmp_path: Path) -> None:
    """By standard input, and as the file that $KEEPER_RESULT names."""
    script = f'cat > {tmp_path}/summary; cp "$KEEPER_RESULT" {tmp_path}/result'

    assert run_command(sh(script), b"it failed\n", RESULT) is None
    assert (tmp_path / "summary").read_bytes() == b"it failed\n"
    assert json.loads((tmp_path / "result").read_text()) == {"ok": False}


def test_result_is_private_and_goes_away(tmp_path: Path) -> None:
    """A file of mode 0600 in a folder of mode 0700."""
    script = (
        f'stat -c %a "$KEEPER_RESULT" "$(dirname "$KEEPER_RESULT")" > {tmp_path}/modes;'
        f' echo "$KEEPER_RESULT" > {tmp_path}/name'
    )

    assert run_command(sh(script), b"", RESULT) is None
    assert (tmp_path / "modes").read_text().split() == ["600", "700"]
    name = Path((tmp_path / "name").read_text().strip())
    assert not name.exists()
    assert not name.parent.exists()


def test_there_is_no_shell(tmp_path: Path) -> None:
    """What an argument holds is not run."""
    program = "import sys; from pathlib import Path; Path(sys.argv[1]).write_text(sys.argv[2])"
    command = [sys.executable, "-c", program, str(tmp_path / "said"), "$(id); `id` > x"]

    assert run_command(command, b"", RESULT) is None
    assert (tmp_path / "said").read_text() == "$(id); `id` > x"


def test_command_need_not_read(tmp_path: Path) -> None:
    """A summary larger than any pipe does not hold it."""
    assert run_command(["/bin/true"], b"x" * 2**20, RESULT, seconds=10) is None


@pytest.mark.parametrize(
    ("command", "trouble"),
    [
        (sh("echo first; echo no route >&2; exit 3"), "failed (status 3): no route"),
        (sh("exit 1"), "failed (status 1): it said nothing"),
        (sh("kill -9 $$"), "failed (killed by SIGKILL): it said nothing"),
        (["/nonexistent/alert"], "cannot be run (No such file or directory)"),
        (["/"], "cannot be run (Permission denied)"),
    ],
)
def test_failure_is_said(command: list[str], trouble: str) -> None:
    """With its last words."""
    assert run_command(command, b"", RESULT) == trouble


@pytest.mark.parametrize("secret", ["https://hooks.example/T0/secret", "--token=secret"])
def test_failure_does_not_repeat_a_secret_argument(secret: str) -> None:
    """Some programs quote what they were given."""
    said = run_command([*sh('echo "no: $1"; exit 1'), "sh", secret], b"", RESULT)

    assert said == "failed (status 1): (its last words name an argument)"


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["obedient", "deaf"])
def test_hanging_command_is_ended_with_all_its_children(tmp_path: Path, trap: str) -> None:
    """Also one that ignores SIGTERM, and a child in the background."""
    script = (
        f"{trap} sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent;"
        " while :; do sleep 600; done"
    )
    began = time.monotonic()

    said = run_command(sh(script), b"", RESULT, seconds=0.5, grace_seconds=0.3)

    assert said == "did not end within 0.5 seconds and was stopped"
    assert time.monotonic() - began < 5
    for name in ("child", "parent"):
        pid = int((tmp_path / name).read_text())
        wait_until(lambda pid=pid: not is_running(pid))  # type: ignore[misc]


def test_child_in_the_background_holds_nobody(tmp_path: Path) -> None:
    """It keeps the output open; the command itself has ended, so it is not waited for."""
    began = time.monotonic()
    try:
        assert run_command(sh(f"sleep 600 & echo $! > {tmp_path}/child"), b"", RESULT) is None
        assert time.monotonic() - began < 10
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)


def test_full_disk_does_not_silence_the_command(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what there is to tell: the result then lies in memory."""
    full = mount("full", "64k")
    (full / "filling").write_bytes(b"x" * 60 * 1024)
    with pytest.raises(OSError):
        (full / "more").write_bytes(b"x" * 60 * 1024)
    monkeypatch.setattr("tempfile.tempdir", str(full))
    script = f'cat > {tmp_path}/summary; cp "$KEEPER_RESULT" {tmp_path}/result'

    assert run_command(sh(script), b"x" * 100_000, "y" * 100_000) is None
    assert (tmp_path / "summary").stat().st_size == 100_000
    assert (tmp_path / "result").stat().st_size == 100_000


def test_command_is_run_without_a_result_if_need_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder takes it, somebody is told all the same."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setattr("sqlitekeeper.notify.command.MEMORY", str(tmp_path / "nowhere"))

    said = run_command(sh(f'cat > {tmp_path}/summary; test -z "$KEEPER_RESULT"'), b"x", RESULT)

    assert said == "was run without $KEEPER_RESULT, for which there is no room"
    assert (tmp_path / "summary").read_text() == "x"


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """A loose one makes nothing readable."""
    before = os.umask(0)
    try:
        script = f'stat -c %a "$KEEPER_RESULT" > {tmp_path}/mode'
        assert run_command(sh(script), b"", RESULT) is None
    finally:
        os.umask(before)
    assert stat.S_IMODE(int((tmp_path / "mode").read_text(), 8)) == 0o600
