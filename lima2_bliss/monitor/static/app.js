// The page: what the user chooses goes to the server, what the server says goes to image, charts and tables.

import { names as maps } from "./colours.js";
import { Charts } from "./charts.js";
import { Link } from "./link.js";
import { Picture } from "./picture.js";
import * as tables from "./tables.js";

const $ = (id) => document.getElementById(id);
const DEFAULTS = {
  session: "", scan: "running", detector: "", source: "frame", mode: "newest", index: null, scale: "auto", map: "grey",
  low: null, high: null, spots: true, rings: false, theme: "", zoom: 0, y: 0, x: 0,
};
const chosen = { ...DEFAULTS, ...fromHash() };
let view = null;
let shown = null;

// --- what the address keeps -----------------------------------------------------------------------------------------

function fromHash() {
  const values = {};
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(name in DEFAULTS)) continue;
    const kind = typeof DEFAULTS[name];
    if (kind === "boolean") values[name] = text === "true";
    else if (kind === "number" || DEFAULTS[name] === null) values[name] = text === "" ? null : Number(text);
    else values[name] = text;
  }
  return values;
}

function toHash() {
  const values = Object.entries(chosen).filter(([name, value]) => value !== DEFAULTS[name] && value !== null);
  history.replaceState(null, "", `#${new URLSearchParams(values.map(([name, value]) => [name, String(value)]))}`);
}

function choose(values) {
  Object.assign(chosen, values);
  toHash();
  controls();
}

// --- to the server --------------------------------------------------------------------------------------------------

const link = new Link(
  { scans, view: whole, series: (message) => charts.show(message), image, region: image, trouble,
    info: (message) => tables.info($("info"), message.info) },
  (open) => {
    if (open) {
      follow();
      ask();
    } else badge("no connection", "bad");
  },
);

function follow() {
  link.say({ follow: { scan: chosen.scan, session: chosen.session || null, detector: chosen.detector || null } });
}

function ask() {
  const density = Math.round(Math.max(canvas.clientWidth, canvas.clientHeight) * (window.devicePixelRatio || 1));
  const size = Math.min(2048, Math.max(256, density));
  link.say({ image: { mode: chosen.mode, index: chosen.index, source: chosen.source, max_px: size } });
}

function show(mode, index = null) {
  choose({ mode, index });
  ask();
}

// --- from the server ------------------------------------------------------------------------------------------------

function options(select, wanted, list) {
  const made = JSON.stringify(list);
  if (select.dataset.list !== made) {
    select.replaceChildren(...list.map(([value, text]) => new Option(text, value)));
    select.dataset.list = made;
  }
  select.value = wanted;
}

function scans(message) {
  options($("session"), chosen.session, [["", "any"], ...message.sessions.map((name) => [name, name])]);
  const list = message.scans.map((scan) => [scan.key, `${scan.number} ${scan.title || scan.name} (${scan.session})`]);
  if (chosen.scan !== "running" && !list.some(([key]) => key === chosen.scan)) list.push([chosen.scan, chosen.scan]);
  options($("scan"), chosen.scan, [["running", "the running one"], ...list]);
}

function whole(message) {
  const other = view?.scan?.key !== message.scan?.key || view?.detector !== message.detector;
  view = message;
  if (other) {
    shown = null;
    picture.clear();
    charts.refile();
  }
  const { scan, state, detector } = message;
  if (!scan) {
    badge("waiting for a scan", "warn");
    return;
  }
  badge(state, state === "running" ? "good" : "dim");
  document.title = `${scan.number} ${scan.name} - lima2 monitor`;
  const of = scan.npoints ? ` of ${scan.npoints}` : "";
  $("progress").textContent = `${scan.number} ${scan.title || scan.name}: ${message.frames}${of} frames`;
  options($("detector"), detector ?? "", message.detectors.map((name) => [name, name]));
  $("alarms").replaceChildren(...message.alarms.map(({ level, text }) => {
    const line = document.createElement("div");
    line.className = level;
    line.textContent = text;
    return line;
  }));
  tables.receivers($("receivers"), message.counts);
  tables.hits($("hits"), message.hits, shown?.index, (index) => show("frame", index));
  tables.hits($("best"), message.best, shown?.index, (index) => show("frame", index));
  if (message.geometry !== undefined) picture.geometry = message.geometry;
  charts.keep(message.charts);
  document.body.dataset.frames = message.frames;
  document.body.dataset.scan = scan.key;
}

function image(header, pixels) {
  if (header.type === "image") {
    shown = header;
    if (document.activeElement !== $("index")) $("index").value = header.index;
    const base = `api/frame/${encodeURIComponent(view?.scan?.key ?? "")}/${encodeURIComponent(view?.detector ?? "")}/${header.index}`;
    $("picture-file").href = `${base}.png?map=${chosen.map}&scale=${chosen.scale}`;
    $("spots-file").href = `${base.replace("api/frame", "api/spots")}.csv`;
    document.body.dataset.shown = header.index;
    document.body.dataset.sent = header.sent ?? "";
  }
  picture.show(header, pixels);
}

function trouble(message) {
  badge(message.text, "bad");
}

function badge(text, kind) {
  $("state").textContent = text;
  $("state").className = `badge ${kind}`;
}

// --- image, charts, controls ----------------------------------------------------------------------------------------

const canvas = $("picture");
const picture = new Picture(canvas, $("under"), (box) => link.say({ region: { ...box, max_px: 2048 } }));
const charts = new Charts($("charts"), (name) => {
  const [key, detector] = [view?.scan?.key ?? "", view?.detector ?? ""];
  return `api/csv/${encodeURIComponent(key)}/${encodeURIComponent(detector)}/${encodeURIComponent(name)}`;
});
if (chosen.zoom > 0) {
  picture.zoom = chosen.zoom;
  picture.centre = [chosen.y, chosen.x];
}
canvas.addEventListener("moved", () => {
  const [y, x] = picture.centre;
  Object.assign(chosen, picture.zoom > 0 ? { zoom: picture.zoom, y, x } : { zoom: 0, y: 0, x: 0 });
  toHash();
});

function controls() {
  document.documentElement.dataset.theme = dark() ? "dark" : "light";
  $("live").classList.toggle("on", chosen.mode === "newest");
  $("hits-only").classList.toggle("on", chosen.mode === "hits");
  $("freeze").classList.toggle("on", chosen.mode === "frame");
  for (const name of ["source", "scale", "map"]) $(name).value = chosen[name];
  $("show-spots").checked = chosen.spots;
  $("show-rings").checked = chosen.rings;
  $("low").value = chosen.low ?? "";
  $("high").value = chosen.high ?? "";
  const { scale, map, low, high, spots, rings } = chosen;
  picture.set({ scale, map, low, high, spots, rings });
}

function dark() {
  return chosen.theme ? chosen.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function turnTheme() {
  choose({ theme: dark() ? "light" : "dark" });
  charts.again();
}

function step(by, hits) {
  const now = shown?.index ?? 0;
  if (!hits) return show("frame", Math.max(0, now + by));
  const known = (view?.hits ?? []).map(([index]) => index).sort((a, b) => a - b);
  const next = by > 0 ? known.find((index) => index > now) : known.reverse().find((index) => index < now);
  if (next !== undefined) show("frame", next);
}

const following = (event) => Number.parseFloat(event.target.value);
options($("map"), chosen.map, maps.map((name) => [name, name]));
$("session").onchange = (event) => { choose({ session: event.target.value, scan: "running" }); follow(); };
$("scan").onchange = (event) => {
  choose({ scan: event.target.value, mode: "newest", index: null });
  follow();
  ask();
};
$("detector").onchange = (event) => { choose({ detector: event.target.value }); follow(); ask(); };
$("source").onchange = (event) => { choose({ source: event.target.value }); ask(); };
$("live").onclick = () => show("newest");
$("hits-only").onclick = () => show("hits");
$("freeze").onclick = () => shown && show("frame", shown.index);
$("previous").onclick = () => step(-1, true);
$("next").onclick = () => step(1, true);
$("index").onchange = (event) => Number.isFinite(following(event)) && show("frame", Math.max(0, Math.round(following(event))));
$("scale").onchange = (event) => choose({ scale: event.target.value });
$("map").onchange = (event) => choose({ map: event.target.value });
$("low").onchange = (event) => choose({ low: Number.isFinite(following(event)) ? following(event) : null });
$("high").onchange = (event) => choose({ high: Number.isFinite(following(event)) ? following(event) : null });
$("show-spots").onchange = (event) => choose({ spots: event.target.checked });
$("show-rings").onchange = (event) => choose({ rings: event.target.checked });
$("fit").onclick = () => picture.fit();
$("theme").onclick = turnTheme;
$("help").onclick = () => $("keys").showModal();
$("link").onclick = async () => {
  // frozen, so that the link shows the same frame; of this scan, not of one that runs later
  const values = { ...chosen, scan: view?.scan?.key ?? chosen.scan, detector: view?.detector ?? "" };
  if (shown && chosen.source === "frame") Object.assign(values, { mode: "frame", index: shown.index });
  const parts = Object.entries(values).filter(([name, value]) => value !== DEFAULTS[name] && value !== null);
  const address = new URL(location.href);
  address.hash = new URLSearchParams(parts.map(([name, value]) => [name, String(value)])).toString();
  $("link").dataset.address = address.href;
  try {
    await navigator.clipboard.writeText(address.href);
    $("link").textContent = "copied";
  } catch {
    prompt("the link", address.href);
  }
  setTimeout(() => ($("link").textContent = "link"), 1500);
};

const turn = (select) => {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
};
const KEYS = {
  n: () => show("newest"), h: () => show("hits"), f: () => $("freeze").click(), l: () => turn($("scale")),
  c: () => turn($("map")), s: () => choose({ spots: !chosen.spots }), r: () => choose({ rings: !chosen.rings }),
  "+": () => picture.enlarge(1.5), "-": () => picture.enlarge(1 / 1.5), 0: () => picture.fit(), t: turnTheme,
  "?": () => $("keys").showModal(),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select") || $("keys").open) return;
  if (event.key === "ArrowLeft") step(-1, !event.shiftKey);
  else if (event.key === "ArrowRight") step(1, !event.shiftKey);
  else KEYS[event.key]?.();
});
addEventListener("hashchange", () => {
  Object.assign(chosen, DEFAULTS, fromHash());
  controls();
  follow();
  ask();
});
controls();
