"""The scenario of `lab new` as it is shipped: what is best at nothing isn't recommended."""

from __future__ import annotations

from pathlib import Path

from modelled import printed
from running import run_text

from lab.advice import advise, read
from lab.starter import start


def test_the_scenario_of_lab_new_recommends_nothing_that_is_best_at_nothing(tmp_path: Path) -> None:
    written = start(tmp_path, "mine", None, None, {}, 5, ())
    text = written.path.read_text()
    for large, little in (("commands = 10_000", "commands = 1_500"), ("records = 1_000", "records = 300")):
        assert large in text
        text = text.replace(large, little)
    quick = "\n[readers]\nsessions = 0\n[measure]\nsamples = 40\nbudget = 0.3\ntrials = false\n"
    found = advise(read(run_text(tmp_path, text + quick)))
    assert found.recommended is not None
    standings = {each.candidate.name: each for each in found.standings}
    for name in found.recommended.names:
        assert not standings[name].nothing, printed(found)
        assert standings[name].lone_merit is None, printed(found)
    # Columns can answer everything but the past, and are quickest at nothing of this size.
    assert "columns" not in found.recommended.names, printed(found)
