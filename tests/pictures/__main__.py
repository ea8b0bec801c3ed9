"""Make the pictures of README anew, from what keeper prints and writes for README's example."""

from pathlib import Path

import click

from tests.chromium import PROGRAM, photograph
from tests.example import Example, example
from tests.pictures.terminal import as_svg

FOLDER = Path(__file__).parent


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FOLDER,
    help="Write them there.  [default: where README expects them]",
)
def pictures(folder: Path) -> None:
    """Write report.svg and, where there is a chromium, page.png."""
    with example() as server:
        _do(server, "keeper init storage/production.sqlite3")
        server.grow_old()
        _do(server, "keeper report production --tables --quiet --html report.html")
        _do(server, "keeper vacuum --quiet")
        said = _do(server, "keeper report")
        (folder / "report.svg").write_text(as_svg(f"$ keeper report\n{said}", "keeper report"))
        page = server.app / "report.html"
        # The paths of the server that it stands for.
        page.write_text(page.read_text().replace(str(server.root), ""))
        if PROGRAM:
            photograph(page, folder / "page.png", width=760, height=856)
        else:
            click.echo("there is no chromium here: page.png stays as it is", err=True)


def _do(server: Example, command: str) -> str:
    status, said = server.run(command)
    assert status == 0, said
    return said


if __name__ == "__main__":
    pictures(prog_name="python -m tests.pictures")
