"""Text for people: nothing that a terminal would obey, nothing when quiet."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.events import Level, Note, Tick
from sqlitekeeper.output.printable import printable
from sqlitekeeper.output.terminal import Console, error_line

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"


@given(st.text(st.characters()))
def test_printable_text_is_printable(text: str) -> None:
    """Whatever came in, surrogates included."""
    assert printable(text).isprintable()


@given(st.text(st.characters(codec="utf-8")).filter(str.isprintable))
def test_printable_text_stays(text: str) -> None:
    """Letters of all scripts pass unchanged."""
    assert printable(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("\x1b[31m", "\\x1b[31m"), ("a\nb", "a\\nb"), ("\u202e", "\\u202e"), ("\udcff", "\\udcff")],
)
def test_control_characters_are_spelt_out(raw: str, shown: str) -> None:
    """Readers see what is there."""
    assert printable(raw) == shown


def test_error_has_its_hint_on_a_second_line() -> None:
    """And each is one line, whatever they contain."""
    assert error_line("a\nb", "do\tthis") == "keeper: error: a\\nb\nkeeper: hint: do\\tthis"


def test_error_without_a_hint_is_one_line() -> None:
    """No empty second line."""
    assert error_line("no", None) == "keeper: error: no"


def test_log_lines_carry_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal: time, subject, text; steps to standard error."""
    Console(quiet=False, verbose=False).show(Note("shop", "took a snapshot"))

    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"{TIME} shop: took a snapshot\n", said.err)


def test_results_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a script can take them apart from the log."""
    Console(quiet=False, verbose=False).line("freed 3 pages")

    said = capsys.readouterr()
    assert re.fullmatch(rf"{TIME} freed 3 pages\n", said.out)
    assert said.err == ""


@pytest.mark.parametrize(
    ("quiet", "verbose", "shown"),
    [
        (False, False, ["a step", "warning: a warning"]),
        (False, True, ["a detail", "a step", "warning: a warning"]),
        (True, False, ["warning: a warning"]),
    ],
)
def test_levels_choose_what_is_said(
    capsys: pytest.CaptureFixture[str], quiet: bool, verbose: bool, shown: list[str]
) -> None:
    """Details with --verbose only, warnings always."""
    console = Console(quiet=quiet, verbose=verbose)
    for level in Level:
        console.show(Note("", f"a {level.name.lower()}", level))

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == shown


def test_quiet_console_has_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither lines nor tables."""
    console = Console(quiet=True, verbose=False)
    console.line("freed 3 pages")
    console.table(("database",), [("shop",)])

    assert capsys.readouterr() == ("", "")


def test_quiet_console_tells_failures(capsys: pytest.CaptureFixture[str]) -> None:
    """To standard error, where cron's mail takes them from."""
    Console(quiet=True, verbose=False).failure("shop", "failed", "no such file")

    assert "shop: failed: no such file" in capsys.readouterr().err


def test_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Text to the left, numbers to the right, no trailing blanks."""
    Console(quiet=False, verbose=False, color=False).table(
        ("database", "size"), [("a", "1"), ("longer name", "1000")]
    )

    assert capsys.readouterr().out == ("database     size\na               1\nlonger name  1000\n")


def test_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No lonely headings."""
    Console(quiet=False, verbose=False).table(("database", "size"), [])

    assert capsys.readouterr().out == ""


def test_table_cells_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    """Names in tables are other people's too."""
    Console(quiet=False, verbose=False, color=False).table(("database",), [("\x1b[2J",)])

    assert "\x1b" not in capsys.readouterr().out


def test_log_has_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Ticks are for terminals."""
    console = Console(quiet=False, verbose=True)
    for done in range(3):
        console.show(Tick("shop", "vacuum", done, 2))
    console.close()

    assert capsys.readouterr() == ("", "")
