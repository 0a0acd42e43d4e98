"""Which systems a whole run of the tests has proved: a row that claims more than was shown fails the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from lab.systems import SYSTEMS, System
from lab.systems.system import PROVEN


def claimed(systems: Iterable[System]) -> dict[str, list[str]]:
    """The contract tests that rows rely on, each with the systems that it is the proof of."""
    found: dict[str, list[str]] = {}
    for one in systems:
        for node in one.proof if one.level in PROVEN else ():
            found.setdefault(node, []).append(one.name)
    return found


def unproven(systems: Iterable[System], passed: Mapping[str, int], skipped: Mapping[str, str]) -> list[str]:
    """What is claimed though no test ran for it: neither passed, nor was skipped with a reason."""
    rows = list(systems)
    missing = [
        f"{', '.join(names)}: no contract test ran: {node}"
        for node, names in claimed(rows).items()
        if not passed.get(node) and node not in skipped
    ]
    return missing + [
        f"{one.name}: claims `{one.level}` without a proof" for one in rows if one.level in PROVEN and not one.proof
    ]


class Proofs:
    """Counts the contract tests of a run that were passed, and looks at its end whether each claim has one."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self.said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down how a test ended."""
        node = report.nodeid.partition("[")[0]
        if report.skipped:
            self.skipped[node] = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        elif report.when == "call" and report.passed:
            self.passed[node] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run of all tests in which a claim was not proved."""
        config = session.config
        chosen = config.getoption("keyword") or config.getoption("markexpr") or config.getoption("collectonly")
        if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or chosen or session.exitstatus:
            return
        self.said = unproven(SYSTEMS.values(), self.passed, self.skipped)
        if self.said:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what isn't proved, and what this run couldn't show."""
        for line in self.said:
            terminalreporter.write_line(f"UNPROVEN {line}", red=True)
        for node, names in claimed(SYSTEMS.values()).items():
            if node in self.skipped and not self.passed[node]:
                terminalreporter.write_line(f"not shown in this run: {', '.join(names)}: {self.skipped[node]}")
