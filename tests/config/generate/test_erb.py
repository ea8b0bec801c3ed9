"""The ERB of database.yml: a few expressions, and never any execution."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.config.generate.erb import expand
from sqlitekeeper.errors import ConfigError

ENVIRON = {"SET": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('<%= ENV["SET"] %>', "value"),
        ("<%= ENV['SET'] %>", "value"),
        ('<%=ENV["SET"]-%>', "value"),
        ('<%= ENV["UNSET"] %>', ""),
        ('<%= ENV.fetch("SET") %>', "value"),
        ('<%= ENV.fetch("SET") { 5 } %>', "value"),
        ('<%= ENV.fetch("UNSET") { 5 } %>', "5"),
        ('<%= ENV.fetch("UNSET") { "a b" } %>', "a b"),
        ("<%= ENV.fetch('UNSET', 'storage/x.db') %>", "storage/x.db"),
        ('<%= ENV.fetch("EMPTY", "x") %>', ""),
        ('<%= ENV.fetch("UNSET", nil) %>', ""),
        ('<%= ENV["UNSET"] || "x" %>', "x"),
        ('<%= ENV["SET"] || "x" %>', "value"),
        ('<%= ENV["EMPTY"] || "x" %>', ""),
        ('<%= ENV["UNSET"] || ENV["SET"] || 1 %>', "value"),
        ("<%= 5 %>", "5"),
        ("<%# Rails.root %>", ""),
        ("a<%#\n\n%>b", "a\n\nb"),
        ("<%% x", "<% x"),
        ("%> plain <", "%> plain <"),
        ('<%= ENV["SET"] %>/<%= ENV["SET"] %>', "value/value"),
    ],
)
def test_what_rails_templates_use_is_filled_in(template: str, text: str) -> None:
    """As Ruby would: only nil makes || look further."""
    expanded = expand(template, ENVIRON, "database.yml")
    assert (expanded.text, dict(expanded.foreign)) == (text, {})


@pytest.mark.parametrize(
    "code",
    [
        'Rails.root.join("x")',
        "`touch /tmp/x`",
        'system("ls")',
        'ENV["SET"].upcase',
        'ENV.fetch("UNSET")',
        'ENV.fetch("SET") { system("ls") }',
        '"#{1}"',
        '"\\n"',
        'ENV["SET"] + ENV["SET"]',
        'ENV["SET"] ||',
        "",
        'File.read("/etc/passwd")',
        "__import__('os').getpid()",
    ],
)
def test_anything_else_is_named_with_its_line(code: str) -> None:
    """And leaves a mark in the value."""
    expanded = expand(f"a: 1\nb: <%= {code} %>", ENVIRON, "database.yml")
    value = expanded.text.removeprefix("a: 1\nb: ")
    line, words = expanded.foreign_in(f"x{value}") or (0, "")
    assert line == 2
    assert words == " ".join(f"<%= {code} %>".split())


@pytest.mark.parametrize("tag", ["<% if x %>", "<% 5.times do %>", "<%- x -%>"])
def test_statements_are_refused_with_their_line(tag: str) -> None:
    """What they would do to the file cannot be told."""
    with pytest.raises(ConfigError, match=r"database.yml: line 2: .* does not execute"):
        expand(f"\n{tag}\n<% end %>", ENVIRON, "database.yml")


def test_a_tag_without_end_is_refused() -> None:
    """With its line."""
    with pytest.raises(ConfigError, match="line 3: <% without its %>"):
        expand('\n\n<%= ENV["X"]', ENVIRON, "database.yml")


def test_an_environments_value_is_not_a_template() -> None:
    """What a variable holds is text."""
    expanded = expand('<%= ENV["X"] %>', {"X": "<%= 1 %>"}, "database.yml")
    assert expanded.text == "<%= 1 %>"


def test_a_mark_cannot_be_forged() -> None:
    """The characters that it is made of are dropped from the file."""
    expanded = expand("\ue0001\ue001", ENVIRON, "database.yml")
    assert expanded.foreign_in(expanded.text) is None


TAGS = ["<%", "<%=", "<%#", "<%%", "-%>", "%>"]
WORDS = ["ENV", "[", "]", '"X"', "'X'", ".fetch(", ")", "{", "}", "||", ",", "5", "nil", "raise"]
ODD = [" ", "\n", "`rm`", "#{", "\\", "\ue000", "\ue001"]
PIECES = st.sampled_from([*TAGS, *WORDS, *ODD])


@given(st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join))
def test_any_text_is_filled_in_or_refused(template: str) -> None:
    """Never a traceback, and nothing comes out that neither file nor environment has."""
    try:
        expanded = expand(template, {"X": "!"}, "database.yml")
    except ConfigError as error:
        said = error.message
    else:
        said = "database.yml: line 0"
        assert set(expanded.text) <= set(template) | set("!\ue000\ue0010123456789")
    assert said.startswith("database.yml: line ")
