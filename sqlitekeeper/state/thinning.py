"""Samples of the past that are kept: all of two days, one an hour of a month, then one a day."""

from dataclasses import dataclass

import apsw

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Rule:
    """Of what is older than `age_ms`, the last sample of each `period_ms` (UTC) is kept."""

    age_ms: int
    period_ms: int

    def horizon(self, now_ms: int) -> int:
        """The end of the last period that is older than the rule's age as a whole.

        Never the middle of a period: then thinning twice is thinning once, and
        what was thinned before need not be looked at again.
        """
        return max(0, now_ms - self.age_ms) // self.period_ms * self.period_ms


RULES = (Rule(2 * DAY_MS, HOUR_MS), Rule(30 * DAY_MS, DAY_MS))


def thin(connection: apsw.Connection, now_ms: int, thinned_ms: int = 0) -> None:
    """Apply the rules to the samples of the history, in the caller's transaction.

    Looks only at what has come of age since `thinned_ms`, when it was done
    last; at everything when that lies ahead, because the clock was wrong.
    """
    if thinned_ms > now_ms:
        thinned_ms = 0
    for rule in RULES:
        connection.execute(
            "DELETE FROM sample WHERE database IN (SELECT id FROM watched)"
            " AND at >= :since AND at < :until AND EXISTS ("
            "SELECT 1 FROM sample AS later WHERE later.database = sample.database"
            " AND later.at > sample.at AND later.at < (sample.at / :period + 1) * :period)",
            {
                "since": rule.horizon(thinned_ms) if thinned_ms else 0,
                "until": rule.horizon(now_ms),
                "period": rule.period_ms,
            },
        ).fetchall()
