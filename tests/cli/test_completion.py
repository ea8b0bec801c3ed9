"""What bash, zsh and fish complete, asked as they ask it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Keeper

SHELLS = ["bash", "zsh", "fish"]
CONFIG = """\
[[databases]]
path = "production.sqlite3"
[[databases]]
path = "production_cache.sqlite3"
[[databases]]
path = "errors.sqlite3"
[[files]]
name = "uploads"
path = "public/uploads"
to = "b2:files"
"""


def need(shell: str) -> str:
    """A shell's program."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed here")
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a keeper.toml, and `keeper` on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "keeper"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sqlitekeeper "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (tmp_path / "keeper.toml").write_text(CONFIG)
    return tmp_path


def ask(folder: Path, *words: str) -> list[str]:
    """What keeper answers when a shell wants the last of these words completed."""
    done = subprocess.run(
        ["keeper"],
        cwd=folder,
        env=os.environ
        | {
            "_KEEPER_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["keeper", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def run_shell(folder: Path, command: list[str]) -> str:
    """What a shell says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_database_names(folder: Path) -> None:
    """With the line that the README has."""
    script = (
        'eval "$(_KEEPER_COMPLETE=bash_source keeper)"\n'
        "COMP_WORDS=(keeper vacuum pro) COMP_CWORD=2\n"
        '_keeper_completion keeper; printf "%s\\n" "${COMPREPLY[@]}"\n'
        "complete -p keeper"
    )
    *offered, registered = run_shell(folder, [need("bash"), "-c", script]).splitlines()

    assert offered == ["production", "production_cache"]
    assert "_keeper_completion" in registered


def test_zsh_takes_the_completion(folder: Path) -> None:
    """It is registered for keeper; what it asks is the same as with bash."""
    script = (
        "autoload -Uz compinit && compinit -u -D\n"
        'eval "$(_KEEPER_COMPLETE=zsh_source keeper)"\n'
        "print ${_comps[keeper]}"
    )
    assert run_shell(folder, [need("zsh"), "-f", "-c", script]) == "_keeper_completion\n"


def test_fish_completes_database_names(folder: Path) -> None:
    """Really asked for a completion."""
    script = '_KEEPER_COMPLETE=fish_source keeper | source; complete -C "keeper vacuum pro"'
    offered = run_shell(folder, [need("fish"), "--no-config", "-c", script]).split()

    assert offered == ["production", "production_cache"]


@pytest.mark.parametrize(
    "line",
    [
        'eval "$(_KEEPER_COMPLETE=bash_source keeper)"',
        'eval "$(_KEEPER_COMPLETE=zsh_source keeper)"',
        "_KEEPER_COMPLETE=fish_source keeper | source",
    ],
)
def test_readme_has_the_lines_that_work(line: str) -> None:
    """Those of the tests above, word for word."""
    assert line in (REPOSITORY / "README.md").read_text()
    assert line in Path(__file__).read_text().partition("def test_readme")[0]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script(folder: Path, keeper: Keeper, shell: str) -> None:
    """Also by a keeper without arguments, which otherwise explains itself."""
    run = keeper(env={"_KEEPER_COMPLETE": f"{shell}_source"})

    assert run.status == 0
    assert "_KEEPER_COMPLETE" in run.out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["vac"], ["plain,vacuum"]),
        (["config", "s"], ["plain,show"]),
        (["vacuum", "--bud"], ["plain,--budget"]),
        (["convert", "err"], ["plain,errors"]),
        (["restore", "err"], ["plain,errors"]),
        (["diff", "err"], ["plain,errors"]),
        (["diff", "--tab"], ["plain,--table"]),
        (["files", "up"], ["plain,uploads"]),
        (["vacuum", "production", "pro"], ["plain,production_cache"]),
        (["backup", "--accept-loss", "err"], ["plain,errors"]),
        (["backup", "--accept-loss", "./"], []),
        (["vacuum", "./sto"], ["file,./sto"]),
        (["vacuum", "-c", "keep"], ["file,keep"]),
        (["backup", "--to", "/srv"], ["dir,/srv"]),
        (["backup", "--to", "b2"], []),
        (["restore", "errors", "--to", "lo"], ["file,lo"]),
        (["init", "sto"], ["file,sto"]),
    ],
)
def test_words_are_completed(folder: Path, words: list[str], offered: list[str]) -> None:
    """Commands, options, configured names, each once, and paths."""
    assert ask(folder, *words) == offered


@pytest.mark.parametrize("option", ["-c", "--config"])
def test_named_configuration_is_the_one_that_counts(folder: Path, option: str) -> None:
    """It stands before what is to be completed."""
    (folder / "other.toml").write_text('[[databases]]\npath = "tenant.sqlite3"\n')

    assert ask(folder, "vacuum", option, "other.toml", "t") == ["plain,tenant"]


@pytest.mark.parametrize("text", ["[[databases]]\npath = 1", "no toml", "\xff"])
def test_broken_configuration_offers_paths_alone(folder: Path, text: str) -> None:
    """Without a word about it, in the middle of what somebody types."""
    (folder / "keeper.toml").write_text(text, encoding="latin-1")

    assert ask(folder, "vacuum", "pro") == ["file,pro"]


def test_completion_takes_no_longer_than_one_waits(folder: Path) -> None:
    """A thousand tenants are listed in a moment; half a second on an idle machine."""
    tenants = folder / "tenants"
    for number in range(1000):
        (tenants / f"t{number:04}").mkdir(parents=True)
        (tenants / f"t{number:04}" / "db.sqlite3").touch()
    (folder / "keeper.toml").write_text(
        '[[databases]]\npath = "tenants/*/db.sqlite3"\nname = "{parent}"\n'
    )
    began = time.monotonic()

    assert len(ask(folder, "vacuum", "t")) == 1000
    assert time.monotonic() - began < 5
