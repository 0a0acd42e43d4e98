// A read model that passes: the highest revision of each key, tombstones included, in one file.
//
// lab check --exec "node examples/kit/javascript/readmodel.mjs"
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, save, serve, state } from "./adapter.mjs";

class ReadModel {
  constructor(folder) {
    this.path = join(folder, "state.json");
    const kept = existsSync(this.path) ? parse(readFileSync(this.path, "utf8")) : [];
    this.last = new Map(kept.map((change) => [change.key, change]));
  }

  // A batch is written whole, or not at all.
  apply(changes) {
    const last = new Map(this.last);
    for (const change of changes) {
      if (change.revision > (last.get(change.key)?.revision ?? 0)) last.set(change.key, change);
    }
    save(this.path, [...last.values()]);
    this.last = last;
  }

  rows() {
    return [...this.last.values()].filter((change) => !change.deleted).map(state);
  }
}

serve(ReadModel);
