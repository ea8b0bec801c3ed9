"""The `keeper` group, and the one place that turns exceptions into a message and a status."""

import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import FrameType

import click

from sqlitekeeper.cli.notifications import RunRecord, wants_notification
from sqlitekeeper.errors import KeeperError, RunInterruptedError, as_keeper_error
from sqlitekeeper.output.json import failure_object, print_object
from sqlitekeeper.output.terminal import error_line, print_error

COMMANDS = (
    "init",
    "convert",
    "vacuum",
    "report",
    "backup",
    "files",
    "diff",
    "snapshots",
    "restore",
    "drill",
    "prune",
    "status",
    "doctor",
    "config",
)

HELP = """Keep SQLite databases small, checkpointed and backed up.

\b
  at provisioning       keeper init storage/production.sqlite3
  hourly, from cron     keeper vacuum
  now and then          keeper report
  daily, from cron      keeper backup
"""


class LazyGroup(click.Group):
    """Imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; each lives in the module of its name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"sqlitekeeper.cli.commands.{cmd_name}").command
        return command


def _print_version(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        # Late, since apsw takes a while to load.
        from sqlitekeeper.cli.version import version_text

        click.echo(version_text())
        ctx.exit()


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of keeper, SQLite and rclone.",
)
def keeper() -> None:
    """Nothing of its own: see HELP."""


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise RunInterruptedError(f"ended by {signal.Signals(number).name}", number)


def run_command_line(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup and the like start what is to go on with the signal ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    # Python leaves them out when the caller has closed them.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    record = RunRecord()
    try:
        status = _run(arguments, record)
        sys.stdout.flush()
    except OSError as error:
        # The reader of standard output has gone, or the disk is full.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print_error(error_line(f"standard output: {error.strerror}", None))
        status = 1
    record.notify(status)
    return status


def _run(arguments: list[str], record: RunRecord) -> int:
    # Without arguments a shell may still be asking for its completion script.
    if not arguments and "_KEEPER_COMPLETE" not in os.environ:
        print_error(keeper.get_help(click.Context(keeper, info_name="keeper")))
        return 2
    try:
        return keeper.main(arguments, "keeper", standalone_mode=False, obj=record) or 0
    except click.UsageError as error:
        context = error.ctx
        usage = f"see: {context.command_path} --help" if context else None
        return _fail(record, arguments, 2, error.format_message(), usage)
    except click.ClickException as error:
        return _fail(record, arguments, error.exit_code, error.format_message(), None)
    except (click.Abort, KeyboardInterrupt) as error:
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        return _fail(record, arguments, 130, str(cause or "") or "interrupted", None)
    except BrokenPipeError:
        raise
    except (KeeperError, OSError) as error:
        if isinstance(error, OSError):
            sys.stdout.flush()  # where standard output failed itself, the error is printed once
        trouble = as_keeper_error(error)
        return _fail(record, arguments, trouble.exit_code, trouble.message, trouble.hint)
    except Exception as error:
        if {"-v", "--verbose"} & set(arguments):
            traceback.print_exc()
        message = f"a defect in keeper: {type(error).__name__}: {error}"
        return _fail(
            record, arguments, 1, message, "please report it; --verbose shows where it happened"
        )


def _fail(
    record: RunRecord, arguments: list[str], code: int, message: str, hint: str | None
) -> int:
    """Say what went wrong: one line for people, one object on standard output for --json."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    command = _command_name(arguments)
    record.result = failure_object(command, code, message, hint)
    unasked = not record.knows_config and "--dry-run" not in options
    if unasked and wants_notification(command, _config_option(options)):
        record.unsent_reason = "the run had not begun"
    if "--json" in options:
        print_object(record.result)
    print_error(error_line(message, hint))
    return code


def _config_option(options: list[str]) -> Path | None:
    """What --config names on a command line that was refused."""
    for index, word in enumerate(options):
        if word in ("-c", "--config") and index + 1 < len(options):
            return Path(options[index + 1])
        if word.startswith("--config="):
            return Path(word.removeprefix("--config="))
    return None


def _command_name(arguments: list[str]) -> str | None:
    """The command that the arguments name, such as "vacuum" or "config init"."""
    name = next((word for word in arguments if word in COMMANDS), None)
    if name is None:
        return None
    # It has been imported already, unless importing it is what failed.
    command = getattr(sys.modules.get(f"sqlitekeeper.cli.commands.{name}"), "command", None)
    if not isinstance(command, click.Group):
        return name
    rest = arguments[arguments.index(name) + 1 :]
    return " ".join([name, *[word for word in rest if word in command.commands][:1]])
