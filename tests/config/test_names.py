"""What a database may be called."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.config import check_name, default_name
from sqlitekeeper.config.names import folded
from sqlitekeeper.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["production", "a", "my app", "a{b}", "größe", "a.b", "x" * 200, "production_*"]
)
def test_ordinary_names_are_fine(name: str) -> None:
    """Whatever can be a folder everywhere can be a name."""
    assert check_name(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("a/b", "it contains a path separator"),
        ("a\\b", "it contains a path separator"),
        ("-rf", "it starts with -"),
        (".", "it starts with ."),
        ("..", "it starts with ."),
        (".hidden", "it starts with ."),
        ("a\nb", "it contains a control character"),
        ("a\0", "it contains a control character"),
        ("a\x7f", "it contains a control character"),
        ("a\x85b", "it contains a control character"),
        ("a\u2028b", "it contains a control character"),
        ("caf\udce9", "it is not valid UTF-8"),
        ("x" * 201, "it is longer than 200 bytes"),
        ("é" * 101, "it is longer than 200 bytes"),
    ],
)
def test_a_bad_name_has_a_reason(name: str, reason: str) -> None:
    """The reason completes a sentence about the name."""
    assert check_name(name) == reason


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/production.sqlite3", "production"),
        ("/srv/my.app.db", "my.app"),
        ("/srv/app", "app"),
        ("/srv/.sqlite3", "sqlite3"),
        ("/srv/.env.db", "env"),
        ("/srv/-x.db", "x"),
        ("/srv/a{b}.db", "a{b}"),
    ],
)
def test_a_database_is_named_after_its_file(path: str, name: str) -> None:
    """The last suffix goes, and so does what a name cannot start with."""
    assert default_name(Path(path)) == name


def test_a_file_that_yields_no_name_is_refused() -> None:
    """A file called only ... has nothing to be named after."""
    with pytest.raises(ConfigError, match="cannot be named '' after its file: it is empty"):
        default_name(Path("/srv/..."))


def test_a_file_name_that_is_not_utf8_is_shown_escaped() -> None:
    """The message can be printed although the name cannot."""
    with pytest.raises(ConfigError, match=r"'/srv/caf\\udce9.db': .* is not valid UTF-8") as caught:
        default_name(Path("/srv/caf\udce9.db"))
    caught.value.message.encode()


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1))
def test_a_file_name_yields_a_valid_name_or_an_error(file_name: str) -> None:
    """No file name crashes, and none gives a name that check_name refuses."""
    try:
        name = default_name(Path("/srv") / file_name)
    except ConfigError as error:
        assert error.message.isprintable()  # noqa: PT017
    else:
        assert check_name(name) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme", "Acme"),
        ("gr\u00f6\u00dfe", "GRO\u0308SSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u212b", "\u00e5"),
        ("\u03a3\u03a3", "\u03c3\u03c2"),
    ],
)
def test_names_that_a_destination_takes_for_one_are_one_when_folded(one: str, other: str) -> None:
    """Whatever their case and their form of Unicode."""
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("acme", "acme-"), ("cafe", "caf\u00e9"), ("1", "\u2460")]
)
def test_other_names_stay_apart_when_folded(one: str, other: str) -> None:
    """Accents and compatible characters tell names apart everywhere."""
    assert folded(one) != folded(other)


@given(st.text(max_size=8))
def test_folding_ignores_every_way_to_write_a_name(name: str) -> None:
    """As a round of case folding and normalization would leave it."""
    for form in ("NFC", "NFD"):
        assert folded(unicodedata.normalize(form, name)) == folded(name)
    once = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    assert folded(once) == folded(name)
