// What the user has chosen. The address keeps what differs from the defaults, so that a link reopens the same view.

export const DEFAULTS = {
  session: "", scan: "running", detector: "", source: "frame", mode: "newest", index: null, scale: "auto", map: "grey",
  low: null, high: null, spots: true, rings: false, radii: "", mask: true, rois: false, theme: "", zoom: 0, y: 0, x: 0,
  hide: "", big: "", time: false,
};

export function fromHash() {
  const values = {};
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(name in DEFAULTS)) continue;
    const kind = typeof DEFAULTS[name];
    if (kind === "boolean") values[name] = text === "true";
    else if (kind === "string") values[name] = text;
    else if (text === "" || Number.isFinite(Number(text))) values[name] = text === "" ? DEFAULTS[name] : Number(text);
  }
  return values;
}

export function hashOf(chosen) {
  const parts = Object.entries(chosen).filter(([name, value]) => value !== DEFAULTS[name] && value !== null);
  return `#${new URLSearchParams(parts.map(([name, value]) => [name, String(value)]))}`;
}

// A list of names in one value: "a,b".
export const listed = (text) => (text ? text.split(",") : []);

export function toggled(text, name) {
  const names = listed(text);
  return (names.includes(name) ? names.filter((other) => other !== name) : [...names, name]).join(",");
}
