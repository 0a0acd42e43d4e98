"""`lab check --exec ... --selftest`: tells the author of an adapter, message by message, what works and what doesn't.

It tests the adapter and not the consumer: everything comes once and in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.base import BadInput
from lab.kit.adapter_steps import STEPS, AdapterTest, Unfit
from lab.kit.apart import PATIENCE
from lab.kit.exchange import Stock
from lab.kit.process import ChildEnded, ChildSilent
from lab.kit.remote import Consumers

# Seconds for any answer after the first.
ANSWER = 10.0


@dataclass(frozen=True)
class AdapterFinding:
    """What one step of the self-test found: `works`, `fails` or `not said`, and the last lines to and fro."""

    step: str
    verdict: str
    what: str
    way_out: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    printed: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelfTestResult:
    """Everything that a self-test found."""

    command: str
    findings: tuple[AdapterFinding, ...]

    @property
    def verdict(self) -> str:
        """Fail if a step fails."""
        return "fail" if any(item.verdict == "fails" for item in self.findings) else "pass"

    def document(self) -> dict[str, Any]:
        """The result as a JSON document."""
        rows = [
            {"step": item.step, "verdict": item.verdict, "what": item.what, "way_out": item.way_out,
             "lines": [list(line) for line in item.lines], "printed": list(item.printed)}
            for item in self.findings
        ]  # fmt: skip
        return {"verdict": self.verdict, "selftest": rows}

    def text(self) -> str:
        """The result as text: a line for each step, and below each that fails what was said and the way out."""
        width = max(len(item.step) for item in self.findings)
        lines = []
        for item in self.findings:
            lines.append(f"{item.step:<{width}}  {item.verdict:<8}  {item.what}")
            if item.verdict == "fails":
                lines += [f"    {who:<9} {text}" for who, text in item.lines]
                lines += [f"    {'' if index else 'stderr':<9} {text}" for index, text in enumerate(item.printed)]
                lines.append(f"    what to do: {item.way_out}")
        failed = sum(item.verdict == "fails" for item in self.findings)
        end = f"{failed} of {len(self.findings)} steps fail" if failed else "the adapter is ready: try the consumer"
        return "\n".join([*lines, f"{self.verdict}; {end}"])


def selftest(command: str, seed: int, patience: float = PATIENCE) -> SelfTestResult:
    """Test the adapter that a command line starts. Raises BadInput if the program isn't found."""
    seen: list[Callable[[str, bytes], None]] = []
    with Stock(command, patience, lambda who, line: seen[0](who, line)) as stock:
        test = AdapterTest(Consumers(stock, seed))
        seen.append(test.watch)
        findings: list[AdapterFinding] = []
        for name, step in STEPS.items():
            finding = _found(name, step, test)
            findings.append(finding)
            if name == "init" and finding.verdict == "fails":
                break
            # A slow start needs patience; nothing after it does.
            stock.patience = min(patience, ANSWER)
            if finding.verdict == "fails":
                # The next step begins with a process that is in order.
                test.kill()
        return SelfTestResult(command, tuple(findings))


def _found(name: str, step: Callable[[AdapterTest], str], test: AdapterTest) -> AdapterFinding:
    test.lines = []
    try:
        what = step(test)
        return AdapterFinding(
            name, "not said" if what.startswith("not said") else "works", what.removeprefix("not said: ")
        )
    except Unfit as error:
        what, way_out = str(error), error.way_out
    except BadInput as error:
        problem = error.problems[0]
        what, way_out = f"{problem.where}: {problem.what}", problem.way_out
    except ChildEnded as error:
        what, way_out = str(error), "let it go on until its standard input ends"
    except ChildSilent:
        what = f"no answer for {test.consumers.stock.patience:g} s"
        way_out = "answer each line with a line, and flush standard output after it"
    said = test.exchange.process.said() if test.exchange is not None else []
    return AdapterFinding(name, "fails", what, way_out, tuple(test.lines), tuple(said))
