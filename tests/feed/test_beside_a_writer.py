"""A page of the feed is whole while another process writes the source of truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.scenario import Source
from lab.wiring import plan

TEXT = """
schema = 1
name = "written"
seed = 3
[domain]
name = "employees"
records = 60
[workload]
commands = 1500
rate = 1_000.0
skew = 0.5
deletes = 0.03
invalid = 0.05
[truth]
model = "MODEL"
[[projection]]
name = "records"
store = "memory"
guard = "revision"
"""

WRITER = """
import sys
from pathlib import Path
from lab.base import stream
from lab.place import FolderPlace
from lab.scenario import Source
from lab.wiring import plan

ready = plan(Source(Path(sys.argv[1])))
truth = ready.truth(FolderPlace(Path(sys.argv[2])))
for command in ready.domain.workload(ready.options, stream(3, "workload")):
    truth.execute(command)
truth.close()
"""


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_pages_are_whole_while_another_process_writes(model: str, tmp_path: Path) -> None:
    path = tmp_path / "written.toml"
    path.write_text(TEXT.replace("MODEL", model))
    ready = plan(Source(path))
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(tmp_path / "shop" / "truth")]) as writer:
        truth = None
        while truth is None:
            # A writer that failed would be waited for for ever.
            assert writer.poll() in (None, 0)
            truth = ready.truth_beside(FolderPlace(tmp_path / "shop" / "truth"))
        feed, position, pages, seen = ChangeReader(truth), 0, 0, []
        while writer.poll() is None or truth.head("employee") > position:
            page = feed.changes_since("employee", position, 7)
            if not page.height:
                continue
            pages += 1
            positions = page["position"].to_list()
            assert positions == sorted(positions)
            assert positions[0] > position
            position = positions[-1]
            seen += page.select("position", "key", "revision").rows()
        truth.close()
        assert writer.wait(60) == 0
    assert pages > 10
    whole = ready.truth(FolderPlace(tmp_path / "shop" / "truth"))
    states = ChangeReader(whole).changes_since("employee", 0, 10_000)
    whole.close()
    if model == "snapshot":
        assert set(states.select("position", "key", "revision").rows()) <= set(seen)
    else:
        assert seen == states.select("position", "key", "revision").rows()
