"""Transfers on each server: writers at the same time leave the sum of all balances at 0."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab.base import stream
from lab.domain.bank import BANK
from lab.domain.bank_workload import OWN
from lab.domain.model import Command
from lab.place import FolderPlace
from lab.truth import EXTRAS, join_truth, open_truth

ACCOUNTS, WRITERS, EACH = 4, 3, 25


def opened(key: int, deposit: int) -> Command:
    return Command("account", "open", key, {"owner": "Ada", "branch": "Mill", "deposit": deposit})


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
@pytest.mark.parametrize("engine", [pytest.param(name, marks=pytest.mark.server(name)) for name in EXTRAS])
def test_transfers_between_few_accounts_lose_no_leg(engine: str, model: str, tmp_path: Path) -> None:
    """Every writer credits accounts that others debit: both are locked before a transfer is decided."""
    place = FolderPlace(tmp_path / "truth")
    first = open_truth(engine, model, place, BANK, "normal")
    failed: list[BaseException] = []
    accepted: list[bool] = []

    def write(number: int) -> None:
        truth = join_truth(engine, model, place, BANK, "normal")
        try:
            for draw in stream(number, "transfers").integers(0, ACCOUNTS + 1, (EACH, 2)).tolist():
                source, target = draw
                outcome = truth.execute(Command("account", "transfer", source, {"to": target, "amount": 1}))
                accepted.append(outcome.status == "accepted")
        except BaseException as error:
            failed.append(error)
        finally:
            truth.close()

    try:
        for key in range(ACCOUNTS + 1):
            first.execute(opened(key, 100 if key != OWN else 0))
        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        found = [first.get("account", key) for key in range(ACCOUNTS + 1)]
        assert sum(one.state["balance"] for one in found if one is not None) == 0
        assert sum(accepted) > WRITERS * EACH // 2
        # Each account was opened, and each deposit changed the bank's own once more.
        assert sum(one.revision for one in found if one is not None) == 2 * ACCOUNTS + 1 + 2 * sum(accepted)
    finally:
        first.drop()
