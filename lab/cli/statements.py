"""The command that prints what a scenario's projection would be sent in a system that the lab doesn't run."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lab.cli.shared import answer, common, planned
from lab.ending import say


@click.command()
@click.argument("scenario")
@click.option("--system", required=True, help="redshift, vertica, sqlserver, oracle, cassandra or hbase.")
@common
def statements(scenario: str, system: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Print what a projection in another system would be sent: tables, how a batch lands, queries."""
    from lab.systems.statements import document, sql_system
    from lab.systems.statements import statements as made
    from lab.systems.wide_statements import WIDE_SYSTEMS

    chosen = None if system in WIDE_SYSTEMS else sql_system(system)
    plan = planned(scenario, overrides, seed)
    entities = plan.domain.entities.values()
    found = made(entities, plan.queries, chosen) if chosen else WIDE_SYSTEMS[system](entities, plan.queries)

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
