"""The command `lab`: parsing and printing, no logic.

Every command takes `--json`: one document on standard output and nothing else there. Progress and errors go to
standard error. Exit status: 0 all verdicts as expected, 1 one is not, 2 bad input, 3 unknown.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from lab.cli import commands, processes
from lab.cli.shared import EXIT

__all__ = ["EXIT", "lab", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="polyglot-lab", prog_name="lab")
def lab() -> None:
    """Put one source of truth beside competing read models, break the messages, and measure what it costs."""


for command in (
    commands.run,
    commands.report,
    commands.compare,
    commands.advise,
    commands.validate,
    commands.stores,
    commands.new,
    commands.check,
    processes.serve,
    processes.load,
    processes.torture,
):
    lab.add_command(command)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line and exit. SIGINT and SIGTERM end a command without leaving files or processes behind."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        lab.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; nothing was left behind", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
