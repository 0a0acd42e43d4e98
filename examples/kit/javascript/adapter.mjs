// Lets `lab check --exec "node readmodel.mjs"` try a consumer: lines of JSON, on standard input and output.
//
// A consumer is a class that is made with a folder and has apply(changes) and rows(), which may be async. What it keeps
// in the folder outlives a crash: made with the same folder again, it must go on from there.
import { renameSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

export async function serve(Consumer, wanted = { keeps: true }) {
  // What the consumer logs must not get between the answers.
  console.log = console.info = console.debug = console.error;
  let consumer;
  for await (const line of createInterface({ input: process.stdin })) {
    const request = parse(line);
    let done;
    try {
      if (request.do === "init") {
        consumer = new Consumer(request.folder);
        done = { ok: true, tears: true, ...wanted };
      } else if (request.do === "apply") {
        await consumer.apply(dying(request.changes, request.die_after));
        done = { ok: true };
      } else if (request.do === "rows") {
        done = { ok: true, rows: await consumer.rows() };
      } else {
        done = { error: `there is no request ${request.do}` };
      }
    } catch (error) {
      console.error(error);
      done = { error: String(error) };
    }
    process.stdout.write(stringify({ id: request.id, ...done }) + "\n");
  }
}

// Hands the changes over one by one; the process ends itself after so many of them, if it is to.
function* dying(changes, after) {
  for (const [number, change] of changes.entries()) {
    if (number === after) process.kill(process.pid, "SIGKILL");
    yield change;
  }
  if (after !== undefined) process.kill(process.pid, "SIGKILL");
}

// A change without what isn't part of the record's state.
export function state(change) {
  const { position, revision, deleted, event, committed_at, transaction, transaction_size, ...row } = change;
  return row;
}

// JSON.parse rounds integers beyond 2^53. They become BigInt here, and are written in all their digits again.
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const BIG = "\u0001int:";

export function parse(line) {
  if (!/\d{16}/.test(line)) return JSON.parse(line);
  const marked = line.replace(TOKEN, (token) =>
    /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? JSON.stringify(BIG + token) : token);
  return JSON.parse(marked, (_, value) =>
    typeof value === "string" && value.startsWith(BIG) ? BigInt(value.slice(BIG.length)) : value);
}

export function stringify(value) {
  const text = JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? BIG + inner : inner));
  return text.replace(/"\\u0001int:(-?\d+)"/g, "$1");
}

// Writes a file whole or not at all, whenever the process is killed.
export function save(path, value) {
  writeFileSync(path + ".new", stringify(value));
  renameSync(path + ".new", path);
}
