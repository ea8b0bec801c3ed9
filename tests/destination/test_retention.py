"""Which snapshots stay: restic's rules, against a second formulation and by their properties."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.destination.retention import Policy, rules_that_keep

RULES = [rule.name for rule in fields(Policy)]
TIMES = st.lists(
    st.one_of(
        st.datetimes(datetime(2019, 12, 20), datetime(2021, 1, 20), timezones=st.just(UTC)),
        st.datetimes(datetime(2020, 12, 25), datetime(2021, 1, 5), timezones=st.just(UTC)),
    ),
    max_size=40,
)
POLICIES = st.builds(Policy, *(st.integers(0, 6) for _ in RULES))


def kept(times: list[datetime], policy: Policy) -> set[datetime]:
    """The times whose snapshots stay."""
    return {time for time, why in rules_that_keep(times, policy).items() if why}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def restated(times: list[datetime], policy: Policy) -> set[datetime]:
    """What stays, said another way: group by period, and take the last few groups' maxima.

    A year of ISO weeks is not a calendar year, and periods are texts here.
    """
    formats = {
        "keep_last": "%Y-%m-%dT%H:%M:%S.%f",
        "keep_hourly": "%Y-%m-%dT%H",
        "keep_daily": "%Y-%m-%d",
        "keep_weekly": "%G-%V",
        "keep_monthly": "%Y-%m",
        "keep_yearly": "%Y",
    }
    if not times:
        return set()
    stay = {max(times)}
    for rule, form in formats.items():
        groups: dict[str, list[datetime]] = {}
        for time in times:
            groups.setdefault(time.strftime(form), []).append(time)
        most = getattr(policy, rule)
        stay |= {max(groups[label]) for label in sorted(groups, reverse=True)[:most]}
        if most > len(groups):
            stay.add(min(times))
    return stay


@given(TIMES, POLICIES)
def test_it_agrees_with_a_second_formulation(times: list[datetime], policy: Policy) -> None:
    """Two ways to say restic's rules keep the same."""
    assert kept(times, policy) == restated(times, policy)


@given(TIMES, POLICIES)
def test_something_stays(times: list[datetime], policy: Policy) -> None:
    """From some snapshots, never none."""
    assert bool(kept(times, policy)) == bool(times)


@given(TIMES.filter(bool), POLICIES)
def test_the_newest_stays(times: list[datetime], policy: Policy) -> None:
    """Whatever the rules are, and it is said first."""
    assert rules_that_keep(times, policy)[max(times)][0] == "newest"


@given(TIMES, POLICIES, st.sampled_from(RULES), st.integers(1, 5))
def test_a_larger_number_never_keeps_less(
    times: list[datetime], policy: Policy, rule: str, more: int
) -> None:
    """Monotonic in every rule."""
    larger = replace(policy, **{rule: getattr(policy, rule) + more})
    assert kept(times, policy) <= kept(times, larger)


@given(TIMES, POLICIES)
def test_applying_it_again_changes_nothing(times: list[datetime], policy: Policy) -> None:
    """What stays, stays for the same reasons, so pruning twice is pruning once."""
    first = rules_that_keep(times, policy)
    again = rules_that_keep([time for time, why in first.items() if why], policy)
    assert again == {time: why for time, why in first.items() if why}


@given(TIMES.flatmap(lambda times: st.tuples(st.just(times), st.permutations(times))), POLICIES)
def test_the_order_does_not_matter(
    orders: tuple[list[datetime], list[datetime]], policy: Policy
) -> None:
    """Newest first comes out, whatever goes in."""
    times, shuffled = orders
    result = rules_that_keep(shuffled, policy)
    assert result == rules_that_keep(times, policy)
    assert list(result) == sorted(set(times), reverse=True)


@given(TIMES, st.sampled_from(RULES), st.integers(0, 6))
def test_a_rule_names_no_more_than_its_number(times: list[datetime], rule: str, most: int) -> None:
    """Each rule keeps the newest of at most N periods."""
    name = rule.removeprefix("keep_")
    result = rules_that_keep(times, replace(Policy(), **{rule: most}))
    assert sum(name in why for why in result.values()) <= most


def test_the_reasons_are_named() -> None:
    """Every rule that keeps a snapshot, in the order of the configuration."""
    policy = Policy(keep_last=1, keep_daily=2, keep_monthly=3)
    times = [at("2026-03-02T03:00"), at("2026-03-02T02:00"), at("2026-03-01T03:00")]
    assert rules_that_keep([*times, at("2026-02-27"), at("2026-02-26")], policy) == {
        times[0]: ("newest", "last", "daily", "monthly"),
        times[1]: (),
        times[2]: ("daily",),
        at("2026-02-27"): ("monthly",),
        at("2026-02-26"): ("oldest monthly",),
    }


def test_a_rule_that_is_used_up_does_not_keep_the_oldest() -> None:
    """Only one with counts left does."""
    times = [at("2026-03-03"), at("2026-03-02"), at("2026-03-01")]
    assert kept(times, Policy(keep_daily=2)) == set(times[:2])
    assert kept(times, Policy(keep_daily=2, keep_weekly=9)) == set(times)


@pytest.mark.parametrize(
    ("older", "newer", "same"),
    [
        ("2020-12-31", "2021-01-01", True),  # both in 2020-W53
        ("2021-01-03", "2021-01-04", False),  # Sunday, Monday
        ("2024-12-30", "2025-01-05", True),  # both in 2025-W01
        ("2019-12-31", "2020-12-29", False),  # 2020-W01 and 2020-W53
    ],
)
def test_weeks_are_iso_weeks(older: str, newer: str, same: bool) -> None:
    """They start on Monday, and belong to the year of their Thursday."""
    times = [at("2018-01-01"), at(older), at(newer)]
    weekly = [
        t for t, why in rules_that_keep(times, Policy(keep_weekly=2)).items() if "weekly" in why
    ]
    assert weekly == [at(newer), at("2018-01-01") if same else at(older)]


def test_periods_are_those_of_utc() -> None:
    """A snapshot of one o'clock in Berlin belongs to the day before."""
    berlin = timezone(timedelta(hours=2))
    night = datetime(2026, 7, 2, 1, tzinfo=berlin)
    morning = datetime(2026, 7, 2, 9, tzinfo=berlin)
    evening = datetime(2026, 7, 1, 20, tzinfo=berlin)
    assert kept([evening, night, morning], Policy(keep_daily=2)) == {night, morning}


def test_a_policy_without_rules_says_so() -> None:
    """Only the newest would stay."""
    assert Policy().keeps_nothing
    assert not Policy(keep_yearly=1).keeps_nothing
