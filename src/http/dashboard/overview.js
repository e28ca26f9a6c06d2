// The overview: figures as cards and charts, operations as they come, namespaces, and the state of the disk.

import { Chart } from "./chart.js";
import { donut } from "./donut.js";
import { showMembers } from "./members.js";
import { isOld, namespaces, showAge } from "./namespaces.js";
import { bytes, clock, count, duration, find, make, microseconds, rate } from "./page.js";

const OPERATIONS_SHOWN = 50;
const COMMANDS_SHOWN = 4;
const NAMESPACES_SHOWN = 8;
const NAMESPACES_EVERY_MS = 5000;

const hasCap = (figures) => figures.max_memory_bytes > 0 && figures.used_memory_bytes !== null;

/** Cards; one whose figure is null is hidden. */
const CARDS = [
  ["Keys", (figures) => (figures.keys === null ? "loading" : count(figures.keys))],
  ["Memory", (figures) => (figures.memory_bytes === null ? "unknown" : bytes(figures.memory_bytes))],
  ["Uptime", (figures) => duration(figures.uptime_seconds)],
  ["Requests a second", (figures) => rate(figures.requests_per_second)],
  ["Clients", (figures) => count(figures.connections)],
  ["Data under its cap", (figures) => (hasCap(figures) ? `${bytes(figures.used_memory_bytes)} of ${bytes(figures.max_memory_bytes)}` : null)],
  ["Evicted a second", (figures) => (hasCap(figures) ? rate(figures.evicted_per_second) : null)],
];

const cards = CARDS.map(([title, show]) => ({ shown: make("dd", {}, "–"), title, show }));
const requests = new Chart("Requests a second", rate);
const latency = new Chart("Time to execute", microseconds);
const hits = new Chart("Reads that find their key", (share) => `${Math.round(share * 100)} %`, 1);
const memory = new Chart("Memory", bytes);

find("cards").append(...cards.map(({ title, shown }) => make("div", { class: "card" }, make("dt", {}, title), shown)));
find("charts").append(...[requests, latency, hits, memory].map((chart) => chart.element));

/** The busiest commands of a second by name, and all others together. */
function busiest(byCommand) {
  const sorted = Object.entries(byCommand).sort((one, other) => other[1] - one[1]);
  const shown = Object.fromEntries(sorted.slice(0, COMMANDS_SHOWN));
  const others = sorted.slice(COMMANDS_SHOWN).reduce((sum, [, number]) => sum + number, 0);
  return others > 0 ? { ...shown, others } : shown;
}

/** Time at which the person has paused the figures; null while they go on. */
let pausedAt = null;
/** The latest figures of the disk, those of the cluster that has the data in its place, if there is one, and when they came. */
let disk;
let cluster = null;
let replication = null;
let diskAt = null;

export function showFigures(figures) {
  [disk, diskAt] = [figures.disk, Date.now()];
  cluster = figures.cluster_slots === null ? null : figures;
  replication = figures;
  if (pausedAt !== null) {
    return;
  }
  for (const { shown, show } of cards) {
    const text = show(figures);
    shown.textContent = text;
    shown.parentElement.hidden = text === null;
  }
  requests.add(figures.requests_per_second > 0 ? busiest(figures.by_command) : { all: 0 });
  latency.add({ p50: figures.p50_us, p99: figures.p99_us });
  hits.add({ hits: figures.hit_ratio });
  const cap = hasCap(figures) ? { cap: figures.max_memory_bytes } : {};
  showMembers(figures);
  memory.add({ resident: figures.memory_bytes, data: cluster === null ? figures.data_bytes : figures.used_memory_bytes, ...cap });
  showDisk(true);
}

/** A second without figures: the charts have a gap there, and the state of the disk is not known. */
export function showNoFigures() {
  if (pausedAt === null && diskAt !== null) {
    for (const chart of [requests, latency, hits, memory]) {
      chart.add({});
    }
    showDisk(false);
  }
}

function stateOf(isLive) {
  const state = disk.fault === null ? "well" : `changes are refused: ${disk.fault}`;
  return isLive ? ["State", state, disk.fault !== null] : ["State", `unknown; at ${clock(diskAt)} it was: ${state}`, true];
}

const slotsOfCluster = 16384;

function rowsOfCluster(isLive) {
  const missing = slotsOfCluster - cluster.cluster_slots;
  const state = missing === 0 ? "well" : `${count(missing)} slots have no primary`;
  return [
    isLive ? ["State", state, missing > 0] : ["State", `unknown; at ${clock(diskAt)} it was: ${state}`, true],
    ["Durability", disk.durability],
    ["Primaries", count(cluster.cluster_primaries)],
    ["Replicas", cluster.cluster_replicas_failed === 0 ? count(cluster.cluster_replicas)
      : `${count(cluster.cluster_replicas)}, and ${count(cluster.cluster_replicas_failed)} that have failed`, cluster.cluster_replicas_failed > 0],
    ["Not yet replicated", bytes(cluster.cluster_lag_bytes)],
    ["Memory of the primaries", bytes(cluster.used_memory_bytes)],
  ];
}

function rowsOfReplication() {
  const { replica_link: link, replica_lag_seconds: lag, replica_lag_revisions: behind, replicas } = replication;
  if (link !== null) {
    return [["Role", `replica, ${link}`, link !== "following"],
      ["Behind the primary", `${lag.toFixed(1)} s, ${count(behind ?? 0)} changes`, lag > 2]];
  }
  return replicas > 0 ? [["Replicas", count(replicas)]] : [];
}

function showDisk(isLive) {
  find("disk-title").textContent = cluster === null ? "On disk" : "Cluster";
  const rows = cluster !== null ? rowsOfCluster(isLive) : disk === null ? [["State", "loading the data"]] : [
    stateOf(isLive),
    ["Durability", disk.durability],
    ["Journal", bytes(disk.journal_bytes)],
    ["Not yet synced", `${disk.unsynced_seconds.toFixed(1)} s`, disk.durability === "everysec" && disk.unsynced_seconds > 1],
    ["Changes since the last save", count(disk.unsaved_changes)],
    ["Last save", disk.last_save_at === null ? "none since start"
      : `${duration((Date.now() - Date.parse(disk.last_save_at)) / 1000)} ago, in ${disk.last_save_seconds.toFixed(2)} s: ${disk.last_save_result}`,
      disk.last_save_result !== null && disk.last_save_result !== "ok"],
    ...rowsOfReplication(),
  ];
  find("disk").replaceChildren(...rows.flatMap(([title, text, isBad]) =>
    [make("dt", {}, title), make("dd", isBad ? { class: "bad" } : {}, text)]));
}

export function showOperations({ operations, skipped }) {
  if (pausedAt !== null) {
    return;
  }
  const rows = operations.slice(-OPERATIONS_SHOWN).reverse().map((operation) => make("tr", {},
    make("td", { class: "nowrap" }, clock(operation.time_ms)),
    make("td", {}, operation.command),
    make("td", { class: "value" }, operation.key ?? ""),
    make("td", operation.status === "OK" ? {} : { class: "bad" }, operation.status),
    make("td", { class: "number" }, operation.microseconds.toFixed(operation.microseconds < 100 ? 2 : 0))));
  const body = find("operations");
  body.prepend(...rows);
  while (body.children.length > OPERATIONS_SHOWN) {
    body.lastElementChild.remove();
  }
  find("operations-note").textContent = skipped > 0
    ? `The latest ${OPERATIONS_SHOWN}; ${count(skipped)} more in the last 250 ms are not shown.` : `The latest ${OPERATIONS_SHOWN}.`;
}

export function showSkipped(events) {
  find("operations-note").textContent = `This page could not keep up: ${count(events)} events were skipped.`;
}

const explorerAt = (prefix) => `#explorer?prefix=${encodeURIComponent(prefix)}`;

let lastDrawn = "";
let countedAt = null;

async function showNamespaces(isNew = false) {
  if (document.hidden || find("overview").hidden || pausedAt !== null) {
    return;
  }
  try {
    const answer = await namespaces("", NAMESPACES_SHOWN, isNew);
    countedAt = answer.countedAt;
    showAge(find("namespaces-age"), countedAt);
    const shown = answer.namespaces;
    // Redrawn only if it has changed, so that a link keeps the keyboard focus.
    const drawn = JSON.stringify([shown, answer.others]);
    if (drawn === lastDrawn) {
      return;
    }
    lastDrawn = drawn;
    const rest = answer.keys - answer.others - shown.reduce((sum, { keys }) => sum + keys, 0);
    const shares = shown.map(({ name, keys }) => ({ name, keys, href: explorerAt(name) }));
    shares.push({ name: "other namespaces", keys: rest }, { name: "misc", keys: answer.others });
    const rows = shares.filter(({ keys }) => keys > 0);
    find("donut").replaceChildren(...(rows.length > 0 ? [donut(rows, answer.keys)] : []));
    find("namespaces").replaceChildren(...rows.map(({ name, keys, href }, place) => {
      const texts = [make("span", { class: `key${place % 6}` }, name), make("span", { class: "number" }, count(keys))];
      return make("li", {}, href === undefined ? make("div", {}, ...texts) : make("a", { href }, ...texts));
    }));
    if (rows.length === 0) {
      find("namespaces").append(make("li", { class: "note" }, "There are no keys yet. ", make("a", { href: "#data" }, "Seed or import some.")));
    }
  } catch (error) {
    [lastDrawn, countedAt] = ["", null];
    showAge(find("namespaces-age"), countedAt);
    find("donut").replaceChildren();
    find("namespaces").replaceChildren(make("li", { class: "note" }, error.message));
  }
}

/** Shows the namespaces, counted anew if the server's count is old: nobody may have asked for one in a long time. */
export async function open() {
  await showNamespaces();
  if (countedAt !== null && isOld(countedAt)) {
    await showNamespaces(true);
  }
}

function pause() {
  pausedAt = pausedAt === null ? Date.now() : null;
  find("pause").textContent = pausedAt === null ? "Pause" : "Resume";
  find("paused").textContent = pausedAt === null ? "" : `Paused: what is shown is as it was at ${clock(pausedAt)}.`;
  showNamespaces();
}

find("pause").addEventListener("click", pause);
addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    open();
  }
});
setInterval(() => showNamespaces(), NAMESPACES_EVERY_MS);
