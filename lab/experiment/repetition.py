"""What the process of one repetition is given and leaves, in files of the folder that it works in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

JOB, FAILURE = "job.json", "failure.json"


@dataclass(frozen=True)
class RepetitionJob:
    """What a process is to run: a scenario's text with its overrides and its seed, and what the run is called."""

    path: str
    text: str
    overrides: tuple[str, ...]
    seed: int
    name: str

    def write(self, folder: Path) -> None:
        """Leave it in the folder of the process."""
        (folder / JOB).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RepetitionJob:
        """Take it out of the folder."""
        found = json.loads((folder / JOB).read_text(encoding="utf-8"))
        (folder / JOB).unlink()
        return cls(**found | {"overrides": tuple(found["overrides"])})
