// Tables: scans, receivers with their counts, hits, what is known of the scan.

function cell(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (kind) made.className = kind;
  return made;
}

function table(columns, rows) {
  const made = document.createElement("table");
  const head = document.createElement("tr");
  head.append(...columns.map((name) => cell("th", name)));
  made.append(head, ...rows);
  return made;
}

// New rows only when they differ: what is being clicked or scrolled stays.
function fill(place, made, content) {
  const text = JSON.stringify(content);
  if (place.dataset.content === text) return;
  place.dataset.content = text;
  const within = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(made());
  if (within !== undefined) place.querySelector(`[data-key="${CSS.escape(within)}"]`)?.focus({ preventScroll: true });
}

function choosable(row, key, now, pick) {
  row.className = now ? "pick now" : "pick";
  row.tabIndex = 0;
  row.dataset.key = key;
  if (now) row.setAttribute("aria-current", "true");
  row.addEventListener("click", pick);
  row.addEventListener("keydown", (event) => event.key === "Enter" && pick());
}

// Counts that should be 0, and how full a buffer may be [%].
const TROUBLE = new Set(["lost", "overrun", "invalid"]);
const FULL = 50;

function kindOf(column, value) {
  if (TROUBLE.has(column) && value > 0) return "bad strong";
  if (column === "buffer" && Number.parseInt(value, 10) >= FULL && String(value).includes("%")) return "warn strong";
  if (column === "state" && value === "failed") return "bad strong";
  return "";
}

export function receivers(place, counts) {
  const made = () => {
    if (!counts?.rows.length) return cell("p", "no counts: the receivers cannot be reached from here", "dim");
    return table(counts.columns, counts.rows.map((values) => {
      const row = document.createElement("tr");
      row.append(...values.map((value, i) => cell("td", short(counts.columns[i], value), kindOf(counts.columns[i], value))));
      return row;
    }));
  };
  fill(place, made, counts);
}

// The last part of a Tango name says which receiver it is.
const short = (column, value) => (column === "receiver" ? String(value).split("/").pop() : value);

export function hits(place, list, now, pick) {
  const made = () => {
    if (!list.length) return cell("p", "none yet", "dim");
    return table(["frame", "spots"], list.map(([index, spots]) => {
      const row = document.createElement("tr");
      row.dataset.index = index;
      row.append(cell("td", index), cell("td", spots));
      choosable(row, String(index), index === now, () => pick(index));
      return row;
    }));
  };
  fill(place, made, [list, list.some(([index]) => index === now) ? now : null]);
}

const clock = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" }) : "");

export function scans(place, list, now, pick) {
  const made = () => {
    if (!list.length) return cell("p", "no scan in Redis yet", "dim");
    return table(["scan", "what", "start", "state", "frames", "hits"], list.map((scan) => {
      const row = document.createElement("tr");
      const state = cell("td", scan.state, scan.state === "running" ? "good strong" : "dim");
      const what = cell("td", scan.title || scan.name, "title");
      what.title = `${scan.title || scan.name}, session ${scan.session}\n${scan.filename ?? ""}`;
      row.append(cell("td", scan.number), what, cell("td", clock(scan.start)), state);
      row.append(cell("td", scan.frames ?? (scan.npoints || "")), cell("td", scan.hits ?? ""));
      choosable(row, scan.key, scan.key === now, () => pick(scan.key));
      return row;
    }));
  };
  fill(place, made, [list, now]);
}

// Names and values, those that have `wanted` in them.
export function info(place, values, wanted = "") {
  const rows = [];
  const walk = (value, path) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) walk(inner, path ? `${path}.${name}` : name);
      return;
    }
    const text = Array.isArray(value) ? value.join(", ") : String(value);
    if (!`${path} ${text}`.toLowerCase().includes(wanted.toLowerCase())) return;
    const row = document.createElement("tr");
    row.append(cell("td", path), cell("td", text, "text"));
    rows.push(row);
  };
  walk(values ?? {}, "");
  place.replaceChildren(rows.length ? table(["what", "value"], rows) : cell("p", "nothing with that in it", "dim"));
}
