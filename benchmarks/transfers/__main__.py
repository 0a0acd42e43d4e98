"""Transfers out of order through every guard: `python -m benchmarks.transfers`; the small form is a scenario."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.transfers.frames import GUARDS, Transfers, foretold, impossible
from lab.ending import run
from lab.formatting import number, share, size
from lab.measure.machine import highest_rss_bytes

CORES = 2
# Transfers a second for the curve, and how many of each: at high rates some transfer is always seen in part.
RATES, FEW = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), 20_000


def through(transfers: int, accounts: int, rate: float, disorder: float, seed: int) -> list[dict[str, Any]]:
    """Return a row for each guard: shares of time and of moments with an impossible total, theory, and CPU seconds."""
    began = time.process_time()
    drawn = Transfers.draw(transfers, accounts, rate, disorder, seed)
    # What several guards need is sorted once, before they share the cores.
    _ = drawn.balances, drawn.by_account_as_they_come
    rows = [{"guard": "", "cpu_seconds": time.process_time() - began}]

    def guarded(name: str) -> dict[str, Any]:
        began = time.thread_time()
        of_time, of_moments = impossible(GUARDS[name](drawn, disorder), drawn.span)
        found: dict[str, Any] = {"guard": name, "rate": rate, "of_time": of_time, "of_moments": of_moments}
        return found | {"theory": foretold(name, rate, disorder), "cpu_seconds": time.thread_time() - began}

    # NumPy sorts without holding the interpreter's lock.
    with ThreadPoolExecutor(CORES) as pool:
        return [*rows, *pool.map(guarded, GUARDS)]


def draw(rows: Sequence[dict[str, Any]], disorder: float) -> Figure:
    """Draw the share of impossible totals of each guard over the rate, and theory as lines."""
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(GUARDS):
        mine = [row for row in rows if row["guard"] == name]
        colour = f"C{place}"
        axes.plot([row["rate"] for row in mine], [100 * row["of_time"] for row in mine], "o", color=colour, label=name)
        if mine and mine[0]["theory"] is not None:
            told = [100 * row["theory"] for row in mine]
            axes.plot([row["rate"] for row in mine], told, color=colour, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel(f"transfers a second (messages take 0 to {disorder:g} s)")
    axes.set_ylabel("time with an impossible total (%)")
    axes.legend(fontsize=7.5)
    return figure


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command was told; exits with the usage if that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers", description=__doc__)
    parser.add_argument("--transfers", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=1_000.0, help="transfers a second")
    parser.add_argument("--disorder", type=float, default=10.0, help="seconds that a message takes at the most")
    parser.add_argument("--seed", type=int, default=1087)
    parser.add_argument("--figure", type=Path, help="write the share of each guard over the rate, with theory, as SVG")
    parser.add_argument("--json", type=Path, help="write the figures")
    return parser.parse_args(words)


def main() -> int:
    """Print a line for each guard, and write the figure and the figures if they are asked for."""
    said = arguments()
    began = time.perf_counter()
    rows = through(said.transfers, said.accounts, said.rate, said.disorder, said.seed)
    print(f"drawn and sorted in {rows[0]['cpu_seconds']:.1f} s CPU")
    for row in rows[1:]:
        told = "" if row["theory"] is None else f"theory {share(row['theory'])}"
        print(f"{row['guard']:<30} {share(row['of_time']):>8} of the time {share(row['of_moments']):>8} of all totals "
              f"{row['cpu_seconds']:6.1f} s CPU  {told}")  # fmt: skip
    whole, peak = time.perf_counter() - began, highest_rss_bytes()
    print(f"{said.transfers:,} transfers in {number(whole)} s, at most {size(peak)} of memory")
    if said.figure:
        several = [
            row for rate in RATES for row in through(FEW, said.accounts, rate, said.disorder, said.seed) if row["guard"]
        ]
        draw(several, said.disorder).savefig(said.figure)
    if said.json:
        said.json.write_text(json.dumps({"rows": rows, "seconds": whole, "peak_rss_bytes": peak}, indent=1))
    return 0


if __name__ == "__main__":
    run(main)
