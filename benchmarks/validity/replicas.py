"""Reads of replicas with quorums, against the published tables of probabilistically bounded staleness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.validity.pipeline import poisson
from benchmarks.validity.section import Case, Measure, against_theory
from benchmarks.validity.wars import FITS, PUBLISHED, Mixed, Production, consistent, in_time
from lab.base import stream
from lab.channel.simulated import transmit
from lab.measure.replicas import QuorumReads, quorum_reads
from lab.scenario import ChannelTable, ReadersTable, ReplicasTable

REPLICAS = 3
SOURCE = "Bailis et al. (2012), section 4; by quadrature"


@dataclass(frozen=True)
class Setting:
    """The delays and the quorums of a case. `shared`: a planted fault, one draw of the channel for all replicas."""

    fits: Production
    read: int
    write: int
    shared: bool = False


@cache
def simulated(setting: Setting, seed: int, size: int) -> QuorumReads:
    """One read of each of `size` writes, through the lab's channel and its quorums; nothing waits at a replica."""

    def delay(law: Mixed) -> dict[str, object]:
        return {"kind": "mixture", "parts": law.parts()}

    at = poisson(1_000.0, size, seed)
    channel = ChannelTable.model_validate({"delay": delay(setting.fits.write)})
    after = []
    for number in range(REPLICAS):
        name = [] if setting.shared else [f"replica-{number}"]
        sent = transmit(at, np.arange(size), channel, stream(seed, "channel", *name))
        shown = np.full(size, np.inf)
        shown[sent.message] = sent.arrives_at
        after.append(shown - at)
    other = delay(setting.fits.other)
    replicas = ReplicasTable.model_validate({"read": setting.read, "write": setting.write, "acknowledgement": other})
    readers = ReadersTable.model_validate({"delay": other, "answer": other})
    return quorum_reads(after, replicas, readers, stream(seed, "replicas"))


def reads_fresh(setting: Setting, after: float) -> Measure:
    """The lab's share of reads that are consistent `after` milliseconds after the acknowledgement."""

    def measure(seed: int, size: int) -> float:
        return simulated(setting, seed, size).consistent(after / 1e3)

    return measure


def _within(setting: Setting, most: float, reads: bool) -> Measure:
    def measure(seed: int, size: int) -> float:
        found = simulated(setting, seed, size)
        return float(((found.read_seconds if reads else found.write_seconds) <= most / 1e3).mean())

    return measure


def fresh(fits: Production, read: int, write: int, after: float, note: str) -> Case:
    """The share of consistent reads at a time after the acknowledgement, in milliseconds."""
    theory = consistent(fits, REPLICAS, read, write, after)
    name = f"{fits.name}, R={read}, W={write}: reads consistent after {after:g} ms"
    return Case(name, theory, SOURCE, reads_fresh(Setting(fits, read, write), after), note)


def cases() -> Sequence[Case]:
    """The cases of this section: of each cell of the table the read, the write and the window, and a read at once."""
    found = []
    for read, write, cells in PUBLISHED:
        for fits in FITS:
            slowest_read, slowest_write, window = cells[fits.name]
            where, setting = f"{fits.name}, R={read}, W={write}", Setting(fits, read, write)
            found.append(fresh(fits, read, write, 0.0, "0.439" if (fits.name, read, write) == DISK_AT_ONCE else ""))
            if window:
                found.append(fresh(fits, read, write, window, "0.999"))
            for what, most, quorum in (("reads", slowest_read, read), ("writes", slowest_write, write)):
                theory = in_time(fits, REPLICAS, quorum, most, what == "reads")
                measure = _within(setting, most, what == "reads")
                found.append(Case(f"{where}: {what} within {most:g} ms", theory, "order statistic", measure, "0.999"))
    return found


# The one probability of a read at once that the text of the paper gives.
DISK_AT_ONCE = ("LNKD-DISK", 1, 1)

SECTION = against_theory(
    "Replicas with quorums",
    "Three replicas, with the delays that Bailis et al. fitted to the production of LinkedIn (SSDs, and disks) and of "
    "Yammer ([Probabilistically Bounded Staleness](https://www.vldb.org/pvldb/vol5/p776_peterbailis_vldb2012.pdf), "
    "PVLDB 2012, table 3). Of each cell of their table 4 whose quorums don't overlap: the share of reads that are "
    "consistent right after the acknowledgement and after the time that the paper gives for 99.9 %, and the shares of "
    "reads and of writes within its 99.9th percentiles. Theory is the same model by quadrature. The paper's own times "
    "come from a simulation: where 99.9 % of 50,000 reads are consistent, the second digit is chance.",
    cases,
)
