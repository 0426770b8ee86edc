// The page: what the user chooses goes to the server, what the server says goes to image, charts and tables.

import { Charts } from "./charts.js";
import { connect, options, reflect } from "./controls.js";
import { copy, saveView } from "./export.js";
import { Histogram } from "./histogram.js";
import { Link } from "./link.js";
import { Picture } from "./picture.js";
import { DEFAULTS, fromHash, hashOf, toggled } from "./state.js";
import { Stepper } from "./stepper.js";
import * as tables from "./tables.js";

const $ = (id) => document.getElementById(id);
const chosen = { ...DEFAULTS, ...fromHash() };
let view = null;
let shown = null;
let troubled = "";
let info = {};

function choose(values) {
  Object.assign(chosen, values);
  history.replaceState(null, "", hashOf(chosen));
  controls();
}

// --- to the server --------------------------------------------------------------------------------------------------

const link = new Link(
  { scans, view: whole, series: (message) => charts.show(message), image, region: image, trouble, info: told },
  (open) => {
    if (open) {
      troubled = "";
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
  const { mode, index, source, mask } = chosen;
  link.say({ image: { mode, index, source, mask, max_px: size } });
}

function show(mode, index = null) {
  stepper.stop();
  turnTo(mode, index);
}

function turnTo(mode, index = null) {
  choose({ mode, index });
  ask();
}

// --- from the server ------------------------------------------------------------------------------------------------

function scans(message) {
  options($("session"), chosen.session, [["", "any"], ...message.sessions.map((name) => [name, name])]);
  $("session").parentElement.hidden = message.sessions.length < 2 && !chosen.session;
  const list = message.scans.map((scan) => [scan.key, `${scan.number} ${scan.title || scan.name} (${scan.session})`]);
  if (chosen.scan !== "running" && !list.some(([key]) => key === chosen.scan)) list.push([chosen.scan, chosen.scan]);
  options($("scan"), chosen.scan, [["running", "the running one"], ...list]);
  scans.known = message.scans;
  tables.scans($("scans"), scans.known, view?.scan?.key, openScan);
}

function openScan(key) {
  choose({ scan: key, mode: "newest", index: null });
  follow();
  ask();
}

function whole(message) {
  const other = view?.scan?.key !== message.scan?.key || view?.detector !== message.detector;
  view = message;
  if (other) {
    shown = null;
    picture.clear();
    charts.refile();
    tables.scans($("scans"), scans.known ?? [], message.scan?.key, openScan);
  }
  const { scan, state, detector } = message;
  status();
  if (!scan) return;
  document.title = `${scan.number} ${scan.name} - lima2 monitor`;
  const of = scan.npoints ? ` of ${scan.npoints}` : "";
  $("progress").textContent = `${scan.number} ${scan.title || scan.name}: ${message.frames}${of} frames`;
  $("bar").hidden = !(scan.npoints && state === "running");
  $("bar").value = Math.min(1, message.frames / (scan.npoints || 1));
  options($("detector"), detector ?? "", message.detectors.map((name) => [name, name]));
  $("alarms").replaceChildren(...message.alarms.map(({ level, text }) => {
    const line = document.createElement("div");
    line.className = level;
    line.textContent = text;
    return line;
  }));
  tables.receivers($("receivers"), message.counts);
  lists();
  if (message.geometry !== undefined) picture.geometry = message.geometry;
  charts.keep(message.charts);
  document.body.dataset.frames = message.frames;
  document.body.dataset.scan = scan.key;
}

function lists() {
  for (const name of ["hits", "best"]) tables.hits($(name), view?.[name] ?? [], shown?.index, (index) => show("frame", index));
}

function told(message) {
  info = message.info;
  tables.info($("info"), info, $("wanted").value);
  picture.regions = info[view?.detector]?.rois ?? null;
  picture.draw();
}

function image(header, pixels) {
  // those that were on their way when something else was asked for
  if (header.type === "image" && header.mode !== chosen.mode) return;
  if (chosen.mode === "frame" && chosen.source === "frame" && header.index !== chosen.index) return;
  if (header.type === "image") {
    shown = header;
    if (document.activeElement !== $("index")) $("index").value = header.index;
    const base = `api/frame/${encodeURIComponent(view?.scan?.key ?? "")}/${encodeURIComponent(view?.detector ?? "")}/${header.index}`;
    $("picture-file").href = `${base}.png?map=${chosen.map}&scale=${picture.log ? "log" : "linear"}`;
    $("spots-file").href = `${base.replace("api/frame", "api/spots")}.csv`;
    canvas.setAttribute("aria-label", `detector image: frame ${header.index}, ${(header.spots ?? []).length} spots`);
    document.body.dataset.shown = header.index;
    document.body.dataset.sent = header.sent ?? "";
    lists();
  }
  picture.show(header, pixels);
}

// What goes wrong between here and the scan; stays until the server says that it is over.
function trouble(message) {
  troubled = message.text;
  status();
}

function status() {
  if (troubled) badge(troubled, "bad");
  else if (!view?.scan) badge("waiting for a scan", "warn");
  else badge(view.state, view.state === "running" ? "good" : "dim");
}

function badge(text, kind) {
  $("state").textContent = text;
  $("state").className = `badge ${kind}`;
}

// --- image, charts, controls ----------------------------------------------------------------------------------------

const canvas = $("picture");
const picture = new Picture(canvas, $("under"), (box) => link.say({ region: { ...box, mask: chosen.mask, max_px: 2048 } }));
const histogram = new Histogram($("histogram"), (low, high) => choose({ low, high }));
picture.painted = (data, low, high, log) => histogram.show(data, low, high, log, chosen.map);
const charts = new Charts($("charts"), $("chart-choice"), {
  file: (name) => {
    const [key, detector] = [view?.scan?.key ?? "", view?.detector ?? ""];
    return `api/csv/${encodeURIComponent(key)}/${encodeURIComponent(detector)}/${encodeURIComponent(name)}`;
  },
  pick: (index) => show("frame", index),
  toggle: (what, name) => choose({ [what]: toggled(chosen[what], name) }),
});
const stepper = new Stepper({
  now: () => shown?.index,
  hits: () => view?.hits ?? [],
  show: (index) => turnTo("frame", index),
  changed: (playing) => {
    $("play").textContent = playing ? "stop" : "play";
    $("play").classList.toggle("on", playing);
  },
});

function place() {
  picture.zoom = chosen.zoom;
  picture.centre = [chosen.y, chosen.x];
  canvas.classList.toggle("zoomed", chosen.zoom > 0);
}

canvas.addEventListener("moved", () => {
  const [y, x] = picture.centre.map((value) => Math.round(value * 10) / 10);
  Object.assign(chosen, picture.zoom > 0 ? { zoom: Number(picture.zoom.toPrecision(4)), y, x } : { zoom: 0, y: 0, x: 0 });
  history.replaceState(null, "", hashOf(chosen));
});

let drawn = "";
function controls() {
  document.documentElement.dataset.theme = dark() ? "dark" : "light";
  reflect(chosen);
  const { scale, map, low, high, spots, rings, radii, rois, hide, big, time } = chosen;
  picture.set({ scale, map, low, high, spots, rings, radii, rois });
  const charted = JSON.stringify([hide, big, time]);
  if (charted !== drawn) charts.set({ hide, big, time });
  drawn = charted;
}

function dark() {
  return chosen.theme ? chosen.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

const named = () => `scan${view?.scan?.number ?? ""}_${view?.detector ?? ""}_${chosen.source}_${shown?.index ?? ""}`;

connect({
  choose, ask, follow, show,
  scan: openScan,
  freeze: () => shown && show("frame", shown.index),
  best: () => view?.best?.length && show("frame", view.best[0][0]),
  turnTheme: () => {
    choose({ theme: dark() ? "light" : "dark" });
    charts.again();
  },
  saveView: () => {
    const { scan, detector } = view ?? {};
    const what = chosen.source === "frame" ? "frame" : `${chosen.source}, frame`;
    saveView(picture, `${scan?.session} scan ${scan?.number} ${scan?.title || scan?.name}   ${detector}   ${what} ${shown?.index}`, `${named()}.png`);
  },
  link: () => {
    // frozen, so that the link shows the same frame; of this scan, not of one that runs later
    const values = { ...chosen, scan: view?.scan?.key ?? chosen.scan, detector: view?.detector ?? "" };
    if (shown && chosen.source === "frame") Object.assign(values, { mode: "frame", index: shown.index });
    const address = new URL(location.href);
    address.hash = hashOf(values);
    copy($("link"), address.href);
  },
}, picture, stepper);

$("wanted").oninput = ({ target }) => tables.info($("info"), info, target.value);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { controls(); charts.again(); });
addEventListener("hashchange", () => {
  Object.assign(chosen, DEFAULTS, fromHash());
  place();
  controls();
  follow();
  ask();
});
place();
controls();
