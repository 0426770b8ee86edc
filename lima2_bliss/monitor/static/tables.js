// Tables: receivers with their counts, hits, what is known of the scan.

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

// Counts that should be 0.
const TROUBLE = new Set(["lost", "invalid"]);

export function receivers(place, counts) {
  const rows = (counts?.rows ?? []).map((values) => {
    const row = document.createElement("tr");
    row.append(...values.map((value, i) => cell("td", value, TROUBLE.has(counts.columns[i]) && value > 0 ? "bad" : "")));
    return row;
  });
  place.replaceChildren(rows.length ? table(counts.columns, rows) : cell("p", "not published by this scan", "dim"));
}

export function hits(place, list, now, pick) {
  const rows = list.map(([index, spots]) => {
    const row = document.createElement("tr");
    row.className = index === now ? "pick now" : "pick";
    row.tabIndex = 0;
    row.dataset.index = index;
    row.append(cell("td", index), cell("td", spots));
    row.addEventListener("click", () => pick(index));
    row.addEventListener("keydown", (event) => event.key === "Enter" && pick(index));
    return row;
  });
  place.replaceChildren(rows.length ? table(["frame", "spots"], rows) : cell("p", "none yet", "dim"));
}

export function info(place, values) {
  const rows = [];
  const walk = (value, path) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) walk(inner, path ? `${path}.${name}` : name);
    } else {
      const row = document.createElement("tr");
      row.append(cell("td", path), cell("td", Array.isArray(value) ? value.join(", ") : String(value)));
      rows.push(row);
    }
  };
  walk(values ?? {}, "");
  place.replaceChildren(table(["what", "value"], rows));
}
