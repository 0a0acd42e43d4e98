"""A read model as in many tutorials, which fails: an insert for revision 1, an update for the others, a delete.

lab check --exec "python3 examples/kit/python/naive.py"
"""

import json
from pathlib import Path

from adapter import save, serve

META = ("position", "revision", "deleted", "event", "committed_at", "transaction", "transaction_size")


class Naive:
    """Keeps a list of rows, and writes it after each change."""

    def __init__(self, folder):
        self.path = Path(folder, "state.json")
        self.table = []
        if self.path.exists():
            self.table = json.loads(self.path.read_text())

    def apply(self, changes):
        for change in changes:
            row = {name: value for name, value in change.items() if name not in META}
            if change["deleted"]:
                self.table = [other for other in self.table if other["key"] != change["key"]]
            elif change["revision"] == 1:
                self.table.append(row)
            else:
                self.table = [row if other["key"] == change["key"] else other for other in self.table]
            save(self.path, self.table)

    def rows(self):
        return self.table


if __name__ == "__main__":
    serve(Naive)
