"""The command that prints the SQL of a scenario's projection in a system that the lab doesn't run."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lab.cli.shared import answer, common, planned
from lab.ending import say


@click.command()
@click.argument("scenario")
@click.option("--system", required=True, help="redshift, vertica, sqlserver or oracle.")
@common
def statements(scenario: str, system: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Print the SQL that a projection in another system would be sent: tables, how a batch lands, queries."""
    from lab.systems.statements import document, sql_system
    from lab.systems.statements import statements as made

    chosen = sql_system(system)
    plan = planned(scenario, overrides, seed)
    found = made(plan.domain.entities.values(), plan.queries, chosen)

    def shown() -> None:
        use = ""
        for one in found:
            if use != (use := f"{one.use} {one.name}"):
                say(f"-- {use}")
            if one.why:
                say(f"--   {one.why}")
            if one.text:
                say(f"{one.text};")

    answer(as_json, lambda: document(found), lambda _: shown())
