"""The retention rules of restic's `forget`, on nothing but the times of snapshots.

Newest first, each rule keeps the newest snapshot of each of the last N periods
that have one. A rule that runs out of snapshots before it has kept N keeps the
oldest one too, so that a young history is as long as it can be. All in UTC;
weeks are those of ISO 8601. See
https://restic.readthedocs.io/en/stable/060_forget.html
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Policy:
    """For how many periods of each length a snapshot stays; 0 is a rule that keeps none."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0

    @property
    def keeps_nothing(self) -> bool:
        """Whether no rule keeps anything, so that only the newest snapshot would stay."""
        return self == Policy()


_PERIODS: dict[str, Callable[[datetime], object]] = {
    "last": lambda time: time,
    "hourly": lambda time: (time.date(), time.hour),
    "daily": lambda time: time.date(),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}


def rules_that_keep(times: Iterable[datetime], policy: Policy) -> dict[datetime, tuple[str, ...]]:
    """For each time, newest first, the rules that keep its snapshot; none of them: it goes.

    The newest is always kept, by "newest" if by nothing else.
    """
    ordered = sorted({time.astimezone(UTC) for time in times}, reverse=True)
    kept: dict[datetime, list[str]] = {time: [] for time in ordered}
    if not ordered:
        return {}
    newest, oldest = ordered[0], ordered[-1]
    kept[newest].append(NEWEST)
    for rule, period_of in _PERIODS.items():
        left: int = getattr(policy, f"keep_{rule}")
        period: object = None
        for time in ordered:
            if left and period_of(time) != period:
                period = period_of(time)
                kept[time].append(rule)
                left -= 1
        if left and rule not in kept[oldest]:
            kept[oldest].append(f"oldest {rule}")
    return {time: tuple(rules) for time, rules in kept.items()}
