"""The rules and the dashboard of recipes/prometheus: by promtool, against metrics keeper writes."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, Keeper, MakeDatabase
from tests.recipes.test_cron import commands, variables

RECIPE = REPOSITORY / "recipes/prometheus"
RULES = RECIPE / "keeper.rules.yml"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)


def promtool(*arguments: object) -> None:
    """Let it check something."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    value: dict[str, Any] = json.loads((RECIPE / "dashboard.json").read_text())
    return value


def expressions() -> list[str]:
    """What the panels ask for, with the variables filled in."""
    texts = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [re.sub(r"\$\w+", ".*", text) for text in texts]


@pytest.fixture
def written(tmp_path: Path, make_database: MakeDatabase, keeper: Keeper) -> set[str]:
    """The names of the metrics that the jobs of the crontab leave, each run for real."""
    path = make_database(rows=400, deleted=200)
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\n[backup]\nto = "backups"\n'
    )
    folder = variables(RECIPE / "keeper.crontab")["METRICS"]
    assert f"={folder}`" in (RECIPE / "README.md").read_text()
    for command in commands(RECIPE / "keeper.crontab"):
        program, *arguments = command.replace("$METRICS", str(tmp_path)).split()
        assert program == "$KEEPER"
        assert keeper(*arguments).status == 0
    text = "".join(file.read_text() for file in tmp_path.glob("*.prom"))
    names = re.findall(r"^(keeper_\w+)\{", text, re.MULTILINE)
    # node_exporter refuses a series that it finds in two files.
    assert len(names) == len(set(names))
    return set(names)


@needs_promtool
def test_rules_are_well_formed_and_pass_their_tests() -> None:
    """As the recipe says, and there is a test for each alert."""
    promtool("check", "rules", RULES)
    promtool("test", "rules", RECIPE / "keeper.rules.test.yml")
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    tested = re.findall(r"- alertname: (\w+)", (RECIPE / "keeper.rules.test.yml").read_text())
    assert sorted(set(tested)) == sorted(alerts)
    documented = re.findall(r"`(Keeper\w+)`", (RECIPE / "README.md").read_text())
    assert sorted(documented) == sorted(alerts)


@needs_promtool
def test_dashboard_asks_in_valid_promql(tmp_path: Path) -> None:
    """Each question of it as a recording rule."""
    rules = [{"record": f"panel:{i}", "expr": text} for i, text in enumerate(expressions())]
    file = tmp_path / "panels.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


def test_rules_and_dashboard_use_only_metrics_that_keeper_writes(written: set[str]) -> None:
    """And the dashboard shows all but the time of its samples."""
    in_rules = set(re.findall(r"\bkeeper_\w+", RULES.read_text()))
    assert in_rules <= written
    queries = json.dumps(dashboard()["templating"])
    shown = set(re.findall(r"\bkeeper_\w+", " ".join([*expressions(), queries])))
    assert shown <= written
    assert {name for name in written - shown if "timestamp" not in name} <= {
        "keeper_report_success"
    }


def test_dashboard_is_one_that_grafana_imports() -> None:
    """Every panel has a place, an id of its own and the data source that is chosen."""
    board = dashboard()
    assert {"uid", "title", "schemaVersion", "templating", "panels", "time"} <= set(board)
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    places: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        assert x + w <= 24
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert not cells & places
        places |= cells
    variables = {one["name"] for one in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used <= variables
