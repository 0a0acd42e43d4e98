"use strict";
// One stream of events in, a few small requests out. All that is drawn comes from the last event and the last minute.

const MINUTE = 60;
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const SUBSCRIBED = { both: "messages and polls", channel: "messages alone", "catch-up": "polls alone" };
const views = new Map();
let token = sessionStorage.getItem("lab-token");
let last = null;
let span = 100;

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.9995) return `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
  return `${value.toFixed(value < 10 ? 2 : 0)} s`;
}

// The next round number that is not less; half of it is one too.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10]) if (step * power >= value * 0.9999) return step * power;
  return 10 * power;
}

function happened(text) {
  const item = element("li");
  item.append(element("time", "", new Date().toLocaleTimeString("en-GB")), text);
  $("log").prepend(item);
  while ($("log").children.length > 60) $("log").lastChild.remove();
}

// -- requests --------------------------------------------------------------------------------------------------------

function credentials() {
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function ask(method, path, body) {
  const options = { method, headers: credentials() };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let found, told;
  try {
    found = await fetch(path, options);
    told = await found.json();
  } catch {
    happened(`${method} ${path}: no answer`);
    return null;
  }
  if (found.ok) return told;
  happened(`${method} ${path}: ${told.detail}`);
  return null;
}

function wantToken(said) {
  $("main").hidden = true;
  $("token-form").hidden = false;
  $("token-said").textContent = said;
  $("token").focus();
}

async function listen() {
  let wait = 500;
  for (;;) {
    try {
      const found = await fetch("/live", { headers: credentials(), cache: "no-store" });
      if (found.status === 401) {
        connection(false, "a token is needed");
        wantToken(token ? "That was not the token." : "");
        return;
      }
      if (!found.ok) {
        connection(false, (await found.json()).detail);
      } else {
        wait = 500;
        await follow(found.body.getReader());
        connection(false, "the stream has ended; trying again …");
      }
    } catch {
      connection(false, "no connection; trying again …");
    }
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(8000, 2 * wait);
  }
}

async function follow(reader) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) if (event.startsWith("data: ")) show(JSON.parse(event.slice(6)));
  }
}

function connection(on, said) {
  $("connection").className = on ? "on" : "";
  if ($("connection").textContent !== said) $("connection").textContent = said;
}

// -- one event -------------------------------------------------------------------------------------------------------

function show(event) {
  $("scenario").textContent = event.scenario;
  document.title = `${event.scenario}, live`;
  connection(true, "live");
  for (const row of event.projections) if (!views.has(row.name)) views.set(row.name, new View(row, views.size));
  const outage = event.faults !== null && event.faults.now.outage !== "none";
  for (const row of event.projections) views.get(row.name).take(row, event.at, outage);
  race(event);
  const highest = Math.max(0.02, ...[...views.values()].map((view) => view.most()));
  for (const view of views.values()) view.draw(event.at, round(highest));
  showLoad(event.load, event.truth);
  showFaults(event.faults, event.truth);
  process("source of truth", event.truth, last && last.truth);
  last = event;
}

// What changed in the life of a process.
function process(name, now, before) {
  if (!before) return;
  if (now.restarts > before.restarts) happened(`${name}: its process ended (${now.last_exit}), and is started again`);
  else if (now.state === "running" && before.state !== "running") happened(`${name}: is there again, process ${now.pid}`);
}

const lanes = new Map();

function lane(name, colour) {
  if (lanes.has(name)) return lanes.get(name);
  const row = element("div", "lane");
  const made = { fill: element("div", "fill"), mark: element("div", "mark"), told: element("span", "told") };
  const track = element("div", "track");
  track.setAttribute("aria-hidden", "true");
  made.fill.style.background = colour;
  track.append(made.fill, made.mark);
  row.append(element("span", "name", name), track, made.told);
  row.dataset.lane = name;
  $("race").append(row);
  lanes.set(name, made);
  return made;
}

function race(event) {
  const head = event.truth.position;
  const behind = event.projections.filter((row) => row.behind && row.subscribe !== "channel").map((row) => row.behind);
  const wanted = round(Math.max(100, 1.25 * Math.max(0, ...behind)));
  // Wider at once, narrower little by little: the lanes must not jump.
  span = Math.max(wanted, span * 0.97);
  $("window").textContent = number.format(Math.round(span));
  const at = (position) => `${Math.max(0, Math.min(100, 100 * (1 - (head - position) / span)))}%`;
  const first = lane("source of truth", "var(--faint)");
  first.fill.style.width = head ? "100%" : "0%";
  first.mark.hidden = true;
  first.told.textContent = number.format(head);
  for (const row of event.projections) {
    const one = lane(row.name, views.get(row.name).colour);
    const gossip = row.subscribe === "channel";
    if (row.position === null) {
      one.told.textContent = "no answer";
      continue;
    }
    one.fill.style.width = gossip || !head ? "0%" : at(row.position);
    one.mark.hidden = !row.highest;
    one.mark.style.left = at(row.highest);
    const missing = row.behind ? `${number.format(row.position)} (−${number.format(row.behind)})` : number.format(row.position);
    one.told.textContent = gossip ? "messages alone" : missing;
  }
}

// -- a projection ----------------------------------------------------------------------------------------------------

class View {
  constructor(row, index) {
    this.name = row.name;
    this.colour = `var(--c${index % 7})`;
    this.points = [];
    this.row = null;
    this.gone = null;
    const card = element("article", "card");
    card.style.setProperty("--own", this.colour);
    card.dataset.projection = row.name;
    const top = element("div", "top");
    const title = element("h3", "", row.name);
    const kind = element("p", "store", `${row.store}${row.level === "emulated" ? " (emulated)" : ""} · ${row.keeps} · ${SUBSCRIBED[row.subscribe]}`);
    this.state = element("span", "state");
    top.append(title, this.state);
    this.chart = drawn("svg", { class: "chart", role: "img" });
    this.facts = {};
    const list = element("dl");
    for (const [key, said] of [["lag", "lag"], ["probes", "answers"], ["last", "last amiss"], ["process", "process"]]) {
      this.facts[key] = element("dd");
      list.append(element("dt", "", said), this.facts[key]);
    }
    const foot = element("div", "rebuild");
    this.button = element("button", "", "Rebuild");
    this.button.type = "button";
    this.button.setAttribute("aria-label", `Rebuild ${row.name}`);
    this.button.disabled = row.subscribe === "channel";
    this.button.addEventListener("click", () => ask("POST", `/projections/${encodeURIComponent(row.name)}/rebuild`));
    this.progress = element("progress");
    this.progress.setAttribute("aria-label", `Progress of the rebuild of ${row.name}`);
    this.progress.hidden = true;
    this.said = element("span", "said", row.subscribe === "channel" ? "messages that have gone by don't come again" : "");
    foot.append(this.button, this.progress, this.said);
    card.append(top, kind, this.chart, list, foot);
    $("cards").append(card);
  }

  take(row, at, outage) {
    const before = this.row;
    const point = { at, outage, lag: row.lag_seconds, age: this.age(row, at), stale: 0, wrong: 0 };
    if (before) {
      point.stale = row.probes.stale - before.probes.stale;
      point.wrong = row.probes.wrong - before.probes.wrong;
      if (point.wrong > 0) happened(`${row.name}: wrong answer: record ${row.probes.last.key}, ${row.probes.last.detail}`);
      const [then, now] = [before.rebuild && before.rebuild.state, row.rebuild && row.rebuild.state];
      if (now && now !== then && now !== "none") happened(`${row.name}: rebuild: ${rebuilt(row.rebuild)}`);
    }
    process(row.name, row, before);
    this.points.push(point);
    while (this.points[0].at < at - MINUTE) this.points.shift();
    this.row = row;
    this.tell(row);
  }

  // How old the position is; of a process that says nothing, it grows from what was last said.
  age(row, at) {
    // Times of an emulator say nothing of the system.
    if (row.subscribe === "channel" || row.level === "emulated") return null;
    if (row.age_seconds !== null) this.gone = at - row.age_seconds;
    return this.gone === null ? null : at - this.gone;
  }

  tell(row) {
    const shape = { running: "●", starting: "▲", stopped: "■" }[row.state];
    this.state.className = `state ${row.state}`;
    this.state.textContent = `${shape} ${row.state === "running" ? "up" : row.state}`;
    const recent = this.points.filter((point) => point.lag !== null).slice(-1)[0];
    this.facts.lag.textContent =
      row.level === "emulated" ? "not shown: an emulator's times say nothing of the system"
        : recent ? seconds(recent.lag) : "nothing became visible in the last minute";
    const probes = row.probes;
    this.facts.probes.textContent = probes.query === null
      ? "not probed: it has no query by key"
      : `${number.format(probes.right)} right, ${number.format(probes.stale)} stale, ${number.format(probes.wrong)} wrong` +
        (probes.unsure ? `, ${number.format(probes.unsure)} unsure` : "");
    this.facts.last.textContent = probes.last
      ? `${probes.last.verdict}: record ${probes.last.key}, ${probes.last.detail}` +
        (probes.last.verdict === "stale" ? `, ${seconds(probes.last.seconds)} old` : "")
      : "–";
    const times = row.restarts === 1 ? "once" : `${row.restarts} times`;
    this.facts.process.textContent = `${row.pid ?? "–"}${row.restarts ? `, started again ${times}` : ""}`;
    const rebuild = row.rebuild;
    if (!rebuild || row.subscribe === "channel") return;
    const running = rebuild.state === "building" || rebuild.state === "catching up";
    this.button.disabled = running || row.state !== "running";
    this.progress.hidden = !running;
    if (running && rebuild.of) {
      this.progress.max = rebuild.of;
      this.progress.value = Math.min(rebuild.read, rebuild.of);
    }
    this.said.textContent = rebuild.state === "none" ? "" : rebuilt(rebuild);
  }

  most() {
    return Math.max(0, ...this.points.map((point) => Math.max(point.lag ?? 0, Math.min(point.age ?? 0, 600))));
  }

  // From when to when there was an outage.
  outages(now) {
    const found = [];
    this.points.forEach((point, index) => {
      if (!point.outage) return;
      const until = index + 1 < this.points.length ? this.points[index + 1].at : now;
      if (index && this.points[index - 1].outage) found[found.length - 1][1] = until;
      else found.push([point.at, until]);
    });
    return found;
  }

  draw(now, top) {
    const [width, height] = [this.chart.clientWidth || 320, this.chart.clientHeight || 150];
    const [left, right, above, below] = [48, width - 10, 10, height - 36];
    const x = (at) => right - ((now - at) / MINUTE) * (right - left);
    const y = (value) => below - (Math.min(value, top) / top) * (below - above);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      parts.push(drawn("line", { class: "grid", x1: left, x2: right, y1: y(share * top), y2: y(share * top) }));
      const label = share ? seconds(share * top).replace(/\.?0+ s$/, " s") : "0";
      parts.push(drawn("text", { x: left - 5, y: y(share * top) + 4, "text-anchor": "end" }, label));
    }
    for (const [ago, anchor] of [[60, "start"], [30, "middle"], [0, "end"]]) {
      const label = ago ? `−${ago} s` : "now";
      parts.push(drawn("text", { x: x(now - ago), y: height - 5, "text-anchor": anchor }, label));
    }
    for (const [from, to] of this.outages(now)) {
      const box = { x: x(from), width: Math.max(1, x(to) - x(from)), y: above, height: below - above };
      parts.push(drawn("rect", { class: "outage", ...box }));
    }
    const ages = this.points.filter((point) => point.age !== null).map((point) => `${x(point.at)},${y(point.age)}`);
    if (ages.length > 1) {
      const [from, to] = [ages[0].split(",")[0], ages[ages.length - 1].split(",")[0]];
      parts.push(drawn("polygon", { class: "age", points: `${from},${below} ${ages.join(" ")} ${to},${below}` }));
    }
    const lags = this.points.filter((point) => point.lag !== null);
    // Where nothing became visible for a while, there is no line.
    const line = lags.map((one, index) => {
      const breaks = !index || one.at - lags[index - 1].at > 2.5;
      return `${breaks ? "M" : "L"}${x(one.at).toFixed(1)},${y(one.lag).toFixed(1)}`;
    });
    parts.push(drawn("path", { class: "lag", d: line.join("") }));
    if (lags.length) {
      const tip = lags[lags.length - 1];
      parts.push(drawn("circle", { class: "dot", cx: x(tip.at), cy: y(tip.lag), r: 3 }));
    }
    for (const point of this.points) {
      const mark = { x: x(point.at), "text-anchor": "middle" };
      if (point.stale > 0) parts.push(drawn("text", { ...mark, class: "stale", y: below + 14 }, "◆"));
      if (point.wrong > 0) parts.push(drawn("text", { ...mark, class: "wrong", y: below + 15 }, "✖"));
    }
    this.chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.chart.setAttribute("aria-label", `Lag of ${this.name} over the last minute; now ${this.facts.lag.textContent}`);
    this.chart.replaceChildren(...parts);
  }
}

function rebuilt(rebuild) {
  const took = seconds(rebuild.seconds);
  if (rebuild.state === "building") return `building: ${number.format(rebuild.read)} of ${number.format(rebuild.of)}, ${took}`;
  if (rebuild.state === "catching up") return `catching up, ${took}`;
  if (rebuild.state === "done") return `done: ${number.format(rebuild.read)} changes in ${took}`;
  return `${rebuild.state}: ${rebuild.detail}`;
}

// -- load and faults -------------------------------------------------------------------------------------------------

function showLoad(load, truth) {
  $("load").disabled = !load.possible;
  for (const one of document.querySelectorAll("input[name=rate]")) one.checked = Number(one.value) === load.rate;
  let said = "Valid commands of the scenario's own workload.";
  if (!load.possible) said = "This scenario replays a history of its own, and takes no commands from here.";
  else if (load.finished) said = `The workload is at its end: ${number.format(load.sent)} commands were sent.`;
  else if (load.sent) said = `${number.format(load.sent)} commands sent.`;
  if (truth.commands) {
    const { accepted, rejected, conflict } = truth.commands;
    said += ` In all, ${number.format(accepted)} accepted, ${number.format(rejected)} rejected, ${number.format(conflict)} conflicts.`;
  }
  if ($("load-said").textContent !== said) $("load-said").textContent = said;
}

for (const one of document.querySelectorAll("input[name=rate]")) {
  one.addEventListener("change", () => ask("PUT", "/load", { rate: Number(one.value) }));
}

// Each fault: how a number says it, and how the document of faults does.
const FAULTS = {
  lose: { get: (now) => now.lose * 100, put: (now, value) => ({ ...now, lose: value / 100 }) },
  duplicate: { get: (now) => now.duplicate * 100, put: (now, value) => ({ ...now, duplicate: value / 100 }) },
  delay: {
    get: (now) => now.delay.mean,
    put: (now, mean) => ({ ...now, delay: mean ? { kind: "exponential", mean } : { kind: "constant", mean: 0 } }),
  },
  reorder: {
    get: (now) => now.reorder.share * 100,
    put: (now, value) => ({
      ...now, reorder: { ...now.reorder, share: value / 100, extra: { kind: "exponential", mean: now.reorder.extra.mean || 1 } },
    }),
  },
};

function showFaults(faults, truth) {
  const running = truth.state === "running";
  $("faults").disabled = faults === null;
  if (faults === null) {
    $("faults-said").textContent = running ? "There is no channel: no messages travel." : "The source of truth is not there.";
    return;
  }
  for (const [name, fault] of Object.entries(FAULTS)) {
    const value = fault.get(faults.now);
    const box = $(`${name}-value`);
    $(name).checked = value > 0;
    if (value > 0 && document.activeElement !== box) box.value = Number(value.toPrecision(3));
  }
  $("outage").checked = faults.now.outage !== "none";
  if ($("outage").checked && document.activeElement !== $("outage-value")) $("outage-value").value = faults.now.outage;
  const channel = truth.channel;
  if (!channel) return;
  const said = `Messages: ${number.format(channel.sent)} sent, ${number.format(channel.delivered)} delivered, ` +
    `${number.format(channel.duplicated)} twice, ${number.format(channel.lost)} lost, ${number.format(channel.waiting)} on their way or held.`;
  if ($("faults-said").textContent !== said) $("faults-said").textContent = said;
}

async function putFaults(change, said) {
  if (!last || !last.faults) return;
  // As it is now, and not as it was at the last event: somebody else may be at the switches too.
  const found = await ask("GET", "/faults");
  if (found && (await ask("PUT", "/faults", change(found.now)))) happened(said);
}

for (const [name, fault] of Object.entries(FAULTS)) {
  const [box, value] = [$(name), $(`${name}-value`)];
  const label = box.parentElement.textContent.trim();
  const put = () => {
    const wanted = box.checked ? Number(value.value) : 0;
    putFaults((now) => fault.put(now, wanted), `${label}: ${wanted ? `on, ${wanted}${name === "delay" ? " s" : " %"}` : "off"}`);
  };
  box.addEventListener("change", put);
  value.addEventListener("change", () => box.checked && put());
}

function putOutage() {
  const outage = $("outage").checked ? $("outage-value").value : "none";
  putFaults((now) => ({ ...now, outage }), `Outage: ${outage === "none" ? "over" : `messages are ${outage}`}`);
}
$("outage").addEventListener("change", putOutage);
$("outage-value").addEventListener("change", () => $("outage").checked && putOutage());
$("as-scenario").addEventListener("click", () => {
  if (last && last.faults) putFaults(() => last.faults.scenario, "Faults: as in the scenario");
});

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("lab-token", token);
  $("token-form").hidden = true;
  $("main").hidden = false;
  listen();
});

listen();
