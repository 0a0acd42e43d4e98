// A read model that passes: the highest revision of each key, tombstones included, in one file.
//
// lab check --exec "node examples/kit/typescript/readmodel.ts"
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, save, serve, state, type Change, type Row, type Value } from "./adapter.ts";

class ReadModel {
  path: string;
  last: Map<Value, Change>;

  constructor(folder: string) {
    this.path = join(folder, "state.json");
    const kept: Change[] = existsSync(this.path) ? parse(readFileSync(this.path, "utf8")) : [];
    this.last = new Map(kept.map((change) => [change.key, change]));
  }

  // A batch is written whole, or not at all.
  apply(changes: Iterable<Change>): void {
    const last = new Map(this.last);
    for (const change of changes) {
      if (change.revision > (last.get(change.key)?.revision ?? 0)) last.set(change.key, change);
    }
    save(this.path, [...last.values()]);
    this.last = last;
  }

  rows(): Row[] {
    return [...this.last.values()].filter((change) => !change.deleted).map(state);
  }
}

serve(ReadModel);
