"""The live page in a browser: what a teacher does with it, from the first look to a rebuild. No timing is asserted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Browser, browser
from serving import SMALL, Process, written

PROGRAM = browser()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no browser: put a chromium on the PATH, or say in CHROME where one is"
)

# The mean lag of what became visible at the last look, as the page holds it.
LAG = "views.get('directory').row.lag_seconds"


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    # Polls are slow, so that messages are what makes it quick.
    slow = ("catch_up.every=1.0", "workload.commands=4000", "domain.records=400")
    text = SMALL
    for item in slow:
        path, _, value = item.partition("=")
        table, _, key = path.partition(".")
        text = with_key(text, table, key, value)
    written(tmp_path, text=text)
    return str(tmp_path / "served.toml")


def with_key(text: str, table: str, key: str, value: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith(f"{key} = ")]
    lines.insert(lines.index(f"[{table}]") + 1, f"{key} = {value}")
    return "\n".join(lines)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path / "profile") as opened:
        yield opened


def test_a_teacher_sees_an_outage_and_its_end_and_a_rebuild(scenario: str, window: Browser) -> None:
    with Process(scenario) as service:
        window.go(f"{service.told['url']}/")
        window.until("document.querySelectorAll('.card').length === 2")
        window.run("document.querySelector('input[name=rate][value=\"100\"]').click()")
        window.until("last.truth.position > 50")
        # Messages make it quick; an outage leaves it to the polls, and after it messages come again.
        window.until(f"{LAG} !== null && {LAG} < 0.25")
        window.run("document.getElementById('outage').click()")
        window.until("last.faults.now.outage === 'held'")
        window.until(f"{LAG} > 0.3")
        window.until("last.truth.channel.waiting > 10")
        window.until("document.querySelectorAll('[data-projection=directory] .outage').length === 1")
        # Who asks by key meanwhile is told less than the source of truth knows; nothing that is wrong.
        window.until("last.projections.find((row) => row.name === 'directory').probes.stale > 0")
        window.run("document.getElementById('outage').click()")
        window.until("last.faults.now.outage === 'none'")
        window.until(f"{LAG} !== null && {LAG} < 0.25")
        window.until("last.truth.channel.waiting === 0 || last.truth.channel.delivered > 50")
        window.run("document.querySelector('[data-projection=directory] button').click()")
        said = window.until("document.querySelector('[data-projection=directory] .said').textContent")
        assert isinstance(said, str)
        window.until("document.querySelector('[data-projection=directory] .said').textContent.startsWith('done: ')")
        log = window.run("document.getElementById('log').textContent")
        assert "Outage: messages are held" in log
        assert "Outage: over" in log
        assert "directory: rebuild: " in log
        # A process dies: it is told, and told when it is there again.
        os.kill(service.parts()["directory"]["pid"], signal.SIGKILL)
        window.until("document.getElementById('log').textContent.includes('directory: is there again')")
        window.until("document.querySelector('[data-projection=directory] .state').textContent === '● up'")
        assert "started again once" in window.run("document.querySelector('[data-projection=directory]').textContent")
        assert window.run("last.projections.map((row) => row.probes.wrong)") == [0, 0]
        # Nothing was blocked, and nothing was loaded from elsewhere.
        assert window.said == []
        assert window.run("performance.getEntriesByType('resource').every((one) => one.name.startsWith(origin))")
        for width in (1100, 390):
            window.resize(width, 844)
            window.until(f"innerWidth === {width}")
            assert window.run("document.documentElement.scrollWidth") <= width
        window.run("document.querySelector('input[name=rate][value=\"0\"]').click()")
        window.until("last.load.rate === 0")
        assert service.stop() == (143, "")


def test_the_page_asks_for_the_token_and_is_worked_by_the_keyboard(scenario: str, window: Browser) -> None:
    with Process(scenario, env={"LAB_TOKEN": "secret"}) as service:
        window.go(f"{service.told['url']}/")
        window.until("!document.getElementById('token-form').hidden")
        assert window.run("document.getElementById('main').hidden")
        window.until("document.activeElement.id === 'token'")
        for word, met in (("wrong", "document.getElementById('token-said').textContent !== ''"), ("secret", "last")):
            window.run("document.getElementById('token').value = ''")
            window.ask("Input.insertText", text=word)
            window.press("Enter", 13, "\r")
            window.until(met)
        window.until("document.querySelectorAll('.card').length === 2")
        assert window.run("document.getElementById('token-form').hidden")
        assert window.run("sessionStorage.getItem('lab-token')") == "secret"
        # From the top, by Tab alone, to the switch; every stop has a name and can be seen to have the focus.
        window.run("document.activeElement.blur()")
        stops = []
        for _ in range(30):
            window.press("Tab", 9)
            stops.append(window.run("document.activeElement.id"))
            if stops[-1] == "outage":
                break
            named = "(one => one.labels?.length || one.getAttribute('aria-label') || one.textContent)"
            assert window.run(f"!!{named}(document.activeElement)"), stops
            assert window.run("getComputedStyle(document.activeElement).outlineStyle") == "solid", stops
        assert stops[-1] == "outage", stops
        window.press(" ", 32, " ")
        window.until("last.faults.now.outage === 'held'")
        window.run("document.querySelector('[data-projection=directory] button').focus()")
        window.press("Enter", 13, "\r")
        window.until("document.querySelector('[data-projection=directory] .said').textContent.startsWith('done: ')")
        # A page that is loaded again remembers it for this window.
        window.go(f"{service.told['url']}/")
        window.until("document.querySelectorAll('.card').length === 2")
        # The token that was refused is all that the browser had to complain of.
        assert all("401" in said for said in window.said)
