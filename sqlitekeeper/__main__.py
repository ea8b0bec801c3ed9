"""The `keeper` command, also as `python -m sqlitekeeper`."""

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    if sys.argv[1:] == ["--version"]:
        # Without click, which alone would take most of the time.
        from sqlitekeeper.cli.version import version_text

        print(version_text())
        return
    try:
        from sqlitekeeper.cli.app import run_command_line

        status = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        # So early that there is nothing to say: not all of keeper was loaded yet.
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
