"""What feeds cost a source of truth is measured by the run's own first commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving import written

from lab.base import stream
from lab.domain.model import Command
from lab.live import costs


class Executed:
    """A source of truth that notes what it is told."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def execute(self, command: Command) -> None:
        self.commands.append(command)


@pytest.mark.parametrize("count", [60, 4_000])
def test_costs_are_those_of_the_first_commands_of_the_run(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = written(tmp_path, f"workload.commands={count}")
    told = Executed()

    def opened(*_: Any) -> Any:
        return costs._Costs(told, None, lambda: 0)  # type: ignore[arg-type]

    monkeypatch.setattr(costs, "_made", opened)
    costs.measured(made, tmp_path)
    run = list(made.domain.workload(made.options, stream(made.scenario.seed, "workload")))
    assert told.commands == run[: costs.COMMANDS]
