"""The command `lab`: parsing and printing, no logic.

Every command takes `--json`: one document on standard output and nothing else there. Progress and errors go to
standard error. Exit status: 0 all verdicts as expected and all claims verified, 1 one is not or is refuted, 2 bad
input, 3 unknown or inconclusive, 4 something else went wrong: a full disk, a damaged run, a defect of the lab. A
command that a signal stops has 130 (SIGINT), 143 (SIGTERM).
"""

from __future__ import annotations

import os
import sys

import click

from lab.cli import checking, commands, processes
from lab.cli.growing import grow
from lab.cli.listing import open_report, runs
from lab.cli.planning import plan_
from lab.cli.servers import servers
from lab.cli.shared import EXIT
from lab.cli.statements import statements
from lab.cli.sweeping import merge, sweep
from lab.ending import complain, output, run
from lab.errors import BadInput, Problem
from lab.formatting import printable

__all__ = ["EXIT", "lab", "main"]

STATUSES = """\b
Exit status:
  0  the command worked, every verdict is as expected, and every claim is verified
  1  a verdict is not as expected, or a claim is refuted
  2  bad input: a file, a key or an argument
  3  a verdict is unknown, or a claim is inconclusive
  4  anything else: a full disk, a damaged run, a defect; --debug shows the traceback
  130, 143, 129  stopped by Ctrl-C, by SIGTERM, by a terminal that was closed
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=STATUSES)
@click.version_option(package_name="polyglot-lab", prog_name="lab")
def lab() -> None:
    """Put one source of truth beside competing read models, break the messages, and measure what it costs."""


for command in (
    commands.run,
    commands.report,
    runs,
    open_report,
    commands.compare,
    commands.advise,
    sweep,
    merge,
    grow,
    plan_,
    commands.validate,
    commands.stores,
    servers,
    statements,
    commands.new,
    checking.check,
    checking.grade,
    processes.serve,
    processes.load,
    processes.torture,
):
    lab.add_command(command)


def main() -> None:
    """Run the command line and exit. Signals end a command without leaving files or processes behind."""
    run(_command_line)


def _command_line() -> None:
    if "_LAB_COMPLETE" in os.environ:
        lab.main(prog_name="lab")
    try:
        # Not `lab.main()`, which makes exit status 1 of a reader that is gone.
        with lab.make_context("lab", sys.argv[1:]) as context:
            lab.invoke(context)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        # Raised by click's own printing alone, of a help text: a command tells its errors itself.
        output.give_up(sys.stdout)
    except click.ClickException as error:
        sys.exit(_misused(error))


def _misused(error: click.ClickException) -> int:
    """Tell what is wrong with the arguments, and how the command is used."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        output.say(error.format_message(), err=True)
        return 2
    if context is not None:
        output.say(context.get_usage(), err=True)
        output.say(f"Try '{context.command_path} --help' for help.\n", err=True)
    message = printable(error.format_message())
    if "--json" in sys.argv:
        return complain(BadInput([Problem("arguments", message)]), as_json=True)
    output.say(f"Error: {message}", err=True)
    return BadInput.exit_status
