"""Findings: the worst first, each with its fix on a line of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted

if TYPE_CHECKING:
    from sqlitekeeper.doctor.finding import Finding

HEADINGS = {"fail": "failures", "warn": "warnings", "ok": "in order"}


def show_findings(console: Console, findings: "Sequence[Finding]", *, everything: bool) -> None:
    """Failures, then warnings, then with `everything` what is in order; a total at the end."""
    for level, heading in HEADINGS.items():
        chosen = [one for one in findings if one.level == level]
        if not chosen or (level == "ok" and not everything):
            continue
        if console.is_terminal:
            lines = [line for one in chosen for line in _lines(one, "  ", "    fix: ")]
            console.table((heading,), [(line,) for line in lines])
            continue
        for one in chosen:
            for line in _lines(one, f"{level}: ", f"{level}: fix: "):
                console.line(line)
    console.line(total(findings))


def total(findings: "Sequence[Finding]") -> str:
    """How many of each, such as "1 failure, 2 warnings, 14 in order"."""
    count = {level: sum(one.level == level for one in findings) for level in HEADINGS}
    failures, warnings = counted(count["fail"], "failure"), counted(count["warn"], "warning")
    return f"{failures}, {warnings}, {count['ok']} in order"


def _lines(finding: "Finding", indent: str, fix: str) -> list[str]:
    about = f"{finding.database}: " if finding.database else ""
    line = f"{indent}{about}{finding.message} [{finding.check}]"
    return [line] if finding.fix is None else [line, f"{fix}{finding.fix}"]
