// A read model as in many tutorials, which fails: an insert for revision 1, an update for the others, a delete.
//
// lab check --exec "node examples/kit/javascript/naive.mjs"
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, save, serve, state } from "./adapter.mjs";

class Naive {
  constructor(folder) {
    this.path = join(folder, "state.json");
    this.table = existsSync(this.path) ? parse(readFileSync(this.path, "utf8")) : [];
  }

  apply(changes) {
    for (const change of changes) {
      const row = state(change);
      if (change.deleted) this.table = this.table.filter((other) => other.key !== row.key);
      else if (change.revision === 1) this.table.push(row);
      else this.table = this.table.map((other) => (other.key === row.key ? row : other));
      save(this.path, this.table);
    }
  }

  rows() {
    return this.table;
  }
}

serve(Naive);
