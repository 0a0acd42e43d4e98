"""What is measured in a process of its own: the peak of memory of a run, and of a rebuild. Prints bytes."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.bench import own
from benchmarks.bench.data import LAYOUT
from lab.domain.employees import EMPLOYEES
from lab.experiment import run
from lab.feed.reader import ChangeReader
from lab.measure.machine import highest_rss_bytes
from lab.place import FolderPlace
from lab.projection.rebuild import rebuild
from lab.scenario import Source
from lab.stores import store_class
from lab.truth import open_truth
from lab.wiring import plan


def main(what: str, *words: str) -> None:
    """`run SCENARIO ROOT OVERRIDE...`, `own FOLDER CHANGES STORE...`, or `rebuild TRUTH STORE FOLDER`."""
    if what == "run":
        scenario, root, *overrides = words
        run(plan(Source(Path(scenario), overrides)), Path(root))
    elif what == "own":
        folder, changes, *stores = words
        run(plan(Source(own.written(Path(folder), int(changes), tuple(stores)))), Path(folder) / "runs")
    else:
        path, name, folder = words
        truth = open_truth("sqlite", "history", FolderPlace(Path(path)), EMPLOYEES, "normal")
        store = store_class(name)(FolderPlace(Path(folder)), LAYOUT)
        store.open()
        rebuild(store, ChangeReader(truth), "revision")
        store.close()
        truth.close()
    sys.stdout.write(f"{highest_rss_bytes()}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
