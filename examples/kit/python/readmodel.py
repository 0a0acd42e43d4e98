"""A read model that passes: the highest revision of each key, tombstones included, in one file.

lab check --exec "python3 examples/kit/python/readmodel.py"
"""

import json
from pathlib import Path

from adapter import save, serve

META = ("position", "revision", "deleted", "event", "committed_at", "transaction", "transaction_size")


class ReadModel:
    """Keeps the last change of each key. A batch is written whole, by renaming a file, or not at all."""

    def __init__(self, folder):
        self.path = Path(folder, "state.json")
        self.last = {}
        if self.path.exists():
            self.last = {change["key"]: change for change in json.loads(self.path.read_text())}

    def apply(self, changes):
        last = dict(self.last)
        for change in changes:
            if change["key"] not in last or change["revision"] > last[change["key"]]["revision"]:
                last[change["key"]] = change
        save(self.path, list(last.values()))
        self.last = last

    def rows(self):
        live = (change for change in self.last.values() if not change["deleted"])
        return [{name: value for name, value in change.items() if name not in META} for change in live]


if __name__ == "__main__":
    serve(ReadModel)
