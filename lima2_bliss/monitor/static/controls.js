// Buttons, boxes and keys: each changes what is chosen, or does something with the image.

import { names as maps } from "./colours.js";

const $ = (id) => document.getElementById(id);

// Fill a select; it is made anew only when its list has changed.
export function options(select, wanted, list) {
  const made = JSON.stringify(list);
  if (select.dataset.list !== made) {
    select.replaceChildren(...list.map(([value, text]) => new Option(text, value)));
    select.dataset.list = made;
  }
  select.value = wanted;
}

const BOXES = { "show-spots": "spots", "show-mask": "mask", "show-rois": "rois", "show-rings": "rings", "by-time": "time" };
const MODES = { live: "newest", "hits-only": "hits", freeze: "frame" };

// Show what is chosen.
export function reflect(chosen) {
  for (const [id, mode] of Object.entries(MODES)) {
    $(id).classList.toggle("on", chosen.mode === mode);
    $(id).setAttribute("aria-pressed", chosen.mode === mode);
  }
  for (const name of ["source", "scale", "map"]) $(name).value = chosen[name];
  for (const [id, name] of Object.entries(BOXES)) $(id).checked = chosen[name];
  for (const name of ["low", "high", "radii"]) if (document.activeElement !== $(name)) $(name).value = chosen[name] ?? "";
  $("range").classList.toggle("on", chosen.low === null && chosen.high === null);
}

// `act` has choose(values), ask(), follow(), show(mode, index), freeze(), turnTheme(), best(), saveView(), link().
export function connect(act, picture, stepper) {
  const number = (event) => (Number.isFinite(event.target.valueAsNumber) ? event.target.valueAsNumber : null);
  options($("map"), "grey", maps.map((name) => [name, name]));
  $("session").onchange = ({ target }) => { act.choose({ session: target.value, scan: "running" }); act.follow(); };
  $("scan").onchange = ({ target }) => act.scan(target.value);
  $("detector").onchange = ({ target }) => { act.choose({ detector: target.value }); act.follow(); act.ask(); };
  $("source").onchange = ({ target }) => { act.choose({ source: target.value }); picture.wide = null; act.ask(); };
  $("live").onclick = () => act.show("newest");
  $("hits-only").onclick = () => act.show("hits");
  $("freeze").onclick = () => act.freeze();
  $("previous").onclick = () => stepper.hit(-1);
  $("next").onclick = () => stepper.hit(1);
  $("play").onclick = () => (stepper.playing ? stepper.stop() : stepper.play());
  $("index").onchange = (event) => number(event) !== null && act.show("frame", Math.max(0, Math.round(number(event))));
  $("scale").onchange = ({ target }) => act.choose({ scale: target.value });
  $("map").onchange = ({ target }) => act.choose({ map: target.value });
  $("low").onchange = (event) => act.choose({ low: number(event) });
  $("high").onchange = (event) => act.choose({ high: number(event) });
  $("radii").onchange = ({ target }) => act.choose({ radii: target.value.trim(), rings: true });
  $("range").onclick = () => act.choose({ low: null, high: null });
  for (const [id, name] of Object.entries(BOXES)) {
    $(id).onchange = ({ target }) => {
      act.choose({ [name]: target.checked });
      if (name === "mask") act.ask();
    };
  }
  $("fit").onclick = () => picture.fit();
  $("theme").onclick = () => act.turnTheme();
  $("help").onclick = () => $("keys").showModal();
  $("view-file").onclick = () => act.saveView();
  $("link").onclick = () => act.link();
  keys(act, picture, stepper);
}

function keys(act, picture, stepper) {
  const turn = (select) => {
    select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
    select.dispatchEvent(new Event("change"));
  };
  const KEYS = {
    n: () => act.show("newest"), h: () => act.show("hits"), f: () => act.freeze(), l: () => turn($("scale")),
    c: () => turn($("map")), s: () => $("show-spots").click(), m: () => $("show-mask").click(),
    i: () => $("show-rois").click(), r: () => $("show-rings").click(), a: () => $("range").click(), p: () => $("play").click(),
    b: () => act.best(), "+": () => picture.enlarge(1.5), "-": () => picture.enlarge(1 / 1.5), 0: () => picture.fit(),
    t: () => act.turnTheme(), "?": () => $("keys").showModal(),
  };
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), select");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || $("keys").open) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const by = event.key === "ArrowLeft" ? -1 : 1;
      if (event.shiftKey) stepper.frame(by);
      else stepper.hit(by);
      event.preventDefault();
    } else KEYS[event.key]?.();
  });
}
