"""The index of the recipes, and what their READMEs have in common."""

import re
from fnmatch import fnmatchcase

import pytest

from tests.recipes.remotes import RECIPES

FOLDERS = sorted(path.name for path in RECIPES.iterdir() if path.is_dir())
OF_ONE_SHAPE = [
    "b2",
    "cron",
    "disaster",
    "logrotate",
    "nas",
    "prometheus",
    "r2",
    "s3",
    "sftp",
    "systemd",
]


def test_index_names_every_recipe() -> None:
    """Once, with a link."""
    linked = re.findall(r"^\| \[(\w+)\]\((\w+)\) \| \S", (RECIPES / "README.md").read_text(), re.M)
    assert [name for name, target in linked if name != target] == []
    names = [name for name, _ in linked]
    assert len(set(names)) == len(names)
    assert set(FOLDERS) <= set(names)


@pytest.mark.parametrize("name", OF_ONE_SHAPE)
def test_readme_says_what_the_files_are_and_how_to_check(name: str) -> None:
    """Under its own name, with every file of the folder in its table."""
    readme = (RECIPES / name / "README.md").read_text()
    assert readme.startswith(f"# {name}\n")
    assert "\n## How to check that it works\n" in readme
    table = " ".join(re.findall(r"^\| (`.+`) \| ", readme, re.M))
    patterns = re.findall(r"`([^`]+)`", table)
    files = {path.name for path in (RECIPES / name).iterdir()} - {"README.md"}
    assert {file for file in files if not any(fnmatchcase(file, p) for p in patterns)} == set()


@pytest.mark.parametrize("name", OF_ONE_SHAPE)
def test_links_between_recipes_lead_somewhere(name: str) -> None:
    """To folders that are there."""
    for target in re.findall(r"\]\(\.\./(\w+)\)", (RECIPES / name / "README.md").read_text()):
        assert (RECIPES / target / "README.md").exists()
