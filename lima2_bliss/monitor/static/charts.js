// Charts: strip charts of the scan, radial background, resolution of spots, hit map. Plotly draws them.

import { listed } from "./state.js";

const TITLES = {
  hit_rate: "Hit rate", nb_peaks: "Spots per hit", background: "Radial background", resolution: "Resolution of spots",
  map: "Hits over the scan", frame_rate: "Frames per second", latency: "Latency", background_level: "Background level",
};
// 1/d [1/nm] is the axis of numbers; what is written on it is d [Angstrom]
const INVERSE = "1/d [1/nm]";
const SPACINGS = [50, 20, 10, 7, 5, 4, 3, 2.5, 2, 1.7, 1.5, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7, 0.6, 0.5];

export const titleOf = (name) => TITLES[name] ?? name;

export class Charts {
  // `file(name)` is the address of a chart's CSV; `pick(frame)`: the user wants to see it; `toggle(what, name)`: hide or big.
  constructor(place, choice, { file, pick, toggle }) {
    Object.assign(this, { place, choice, file, pick, toggle });
    this.charts = new Map();
    this.hidden = [];
    this.big = [];
    this.time = false;
    this.seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
      const chart = this.charts.get(target.dataset.name);
      if (!chart) return;
      chart.inSight = isIntersecting;
      if (isIntersecting && chart.stale) this.draw(chart);
    }), { rootMargin: "600px" });
  }

  // What the user has chosen.
  set({ hide, big, time }) {
    [this.hidden, this.big, this.time] = [listed(hide), listed(big), time];
    for (const [name, { box, enlarge }] of this.charts) {
      box.hidden = this.hidden.includes(name);
      box.classList.toggle("big", this.big.includes(name));
      enlarge.setAttribute("aria-pressed", this.big.includes(name));
    }
    this.choices();
    this.again();
  }

  // Keep exactly these charts, in this order.
  keep(names) {
    const same = names.length === this.charts.size && names.every((name) => this.charts.has(name));
    if (same) return;
    for (const [name, chart] of this.charts) {
      if (!names.includes(name)) {
        this.seen.unobserve(chart.box);
        Plotly.purge(chart.plot);
        chart.box.remove();
        this.charts.delete(name);
      }
    }
    for (const name of names) {
      if (!this.charts.has(name)) this.charts.set(name, this.make(name));
      this.place.append(this.charts.get(name).box);
    }
    this.choices();
  }

  // A box to tick for each chart.
  choices() {
    this.choice.replaceChildren(...[...this.charts.keys()].map((name) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !this.hidden.includes(name);
      box.onchange = () => this.toggle("hide", name);
      label.append(box, ` ${titleOf(name)}`);
      return label;
    }));
  }

  make(name) {
    const box = document.createElement("div");
    Object.assign(box, { id: `chart-${name}`, hidden: this.hidden.includes(name) });
    box.dataset.name = name;
    box.classList.toggle("big", this.big.includes(name));
    const head = document.createElement("h2");
    const title = document.createElement("span");
    title.textContent = titleOf(name);
    const file = document.createElement("a");
    Object.assign(file, { textContent: "CSV", download: "", href: this.file(name), title: "the numbers of this chart" });
    const plot = document.createElement("div");
    plot.className = "plot";
    const act = (text, what, call) => {
      const button = document.createElement("button");
      Object.assign(button, { textContent: text, title: `${what}: ${titleOf(name)}`, className: "plain", onclick: call });
      button.setAttribute("aria-label", button.title);
      return button;
    };
    const save = act("PNG", "save as PNG", () => this.save(name, plot));
    const enlarge = act("\u2922", "large or small", () => this.toggle("big", name));
    head.append(title, file, save, enlarge, act("\u00d7", "hide", () => this.toggle("hide", name)));
    box.append(head, plot);
    this.seen.observe(box);
    return { box, plot, file, enlarge, stale: false, inSight: true };
  }

  refile() {
    for (const [name, chart] of this.charts) chart.file.href = this.file(name);
  }

  save(name, plot) {
    const back = getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
    Plotly.relayout(plot, { paper_bgcolor: back });
    Plotly.downloadImage(plot, { format: "png", width: 1200, height: 600, filename: name });
  }

  show(message) {
    const chart = this.charts.get(message.name);
    if (!chart) return;
    chart.box.dataset.points = (message.y ?? message.counts ?? []).length;
    chart.box.dataset.last = message.y?.length ? message.y[message.y.length - 1] : "";
    chart.message = message;
    this.draw(chart);
  }

  draw(chart) {
    const { message, box, plot } = chart;
    chart.stale = box.hidden || !chart.inSight;
    if (chart.stale || !message) return;
    const style = getComputedStyle(document.documentElement);
    const [text, line, accent, panel] = ["--text", "--line", "--accent", "--panel"].map((name) => style.getPropertyValue(name).trim());
    const size = Math.round(Number.parseFloat(style.fontSize) * 0.8);
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    const byTime = this.time && message.t;
    const layout = {
      margin: { l: 44, r: 12, t: 6, b: 34 }, showlegend: false, uirevision: `${message.name}${byTime ? " time" : ""}`,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, size },
      xaxis: { ...axis, ...places(message, byTime) }, hovermode: "closest",
      yaxis: { ...axis, title: { text: message.y_title ?? "", standoff: 4 } },
      hoverlabel: { bgcolor: panel, font: { color: text } },
    };
    if (message.kind === "line") layout.yaxis.rangemode = "tozero";
    Plotly.react(plot, traces(message, accent, byTime), layout, { displaylogo: false, responsive: true, displayModeBar: false });
    if (!chart.clicked && message.kind === "line" && (message.x_title ?? "frame") === "frame") {
      chart.clicked = true;
      plot.on("plotly_click", ({ points: [point] }) => {
        const { x, t } = chart.message;
        const at = this.time && t ? point.pointIndex : x.indexOf(point.x);
        if (at >= 0) this.pick(Math.round(x[at]));
      });
    }
  }

  // Draw all again, in the colours of the theme.
  again() {
    for (const chart of this.charts.values()) if (chart.message) this.draw(chart);
  }
}

// The axis of places: frames, time, resolution, or what the message says.
function places(message, byTime) {
  if (byTime) return { title: { text: "time", standoff: 4 }, type: "date" };
  if (message.x_title !== INVERSE) return { title: { text: message.x_title ?? "frame", standoff: 4 }, type: "linear" };
  const widest = Math.max(...message.x);
  const shown = SPACINGS.map((d) => [d, 10 / d]).filter(([, place]) => place <= widest);
  // no two labels on top of each other
  const kept = shown.filter(([, place], i) => i === shown.length - 1 || shown[i + 1][1] - place > widest / 14);
  return {
    title: { text: "resolution [\u00c5]", standoff: 4 }, type: "linear",
    tickvals: kept.map(([, place]) => place), ticktext: kept.map(([d]) => String(d)),
  };
}

function traces(message, accent, byTime) {
  const spacing = message.x_title === INVERSE;
  if (message.kind === "map") {
    return [{
      type: "heatmap", x: message.x, y: message.y, z: message.z, colorscale: "Viridis", hoverongaps: false,
      colorbar: { thickness: 12, title: { text: "hits", side: "right" } },
      hovertemplate: `${message.x_title} %{x}<br>${message.y_title} %{y}<br>hits %{z}<extra></extra>`,
    }];
  }
  const x = byTime ? message.t.map((seconds) => (seconds === null ? null : new Date(seconds * 1000))) : message.x;
  const text = spacing ? message.x.map((inverse) => `${(10 / inverse).toPrecision(3)} \u00c5`) : undefined;
  const hover = spacing ? "%{text}: %{y:.5~g}<extra></extra>" : "%{x}: %{y:.5~g}<extra></extra>";
  if (message.kind === "bars") {
    return [{ type: "bar", x, y: message.counts, text, textposition: "none", hovertemplate: hover, marker: { color: accent } }];
  }
  const lines = [];
  if (message.lo && message.hi) {
    const none = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    lines.push({ ...none, x, y: message.lo });
    lines.push({ ...none, x, y: message.hi, fill: "tonexty", fillcolor: `${accent}33` });
  }
  const few = message.x.length <= 60; // a single point has no line
  lines.push({
    type: "scatter", mode: few ? "lines+markers" : "lines", x, y: message.y, text, hovertemplate: hover,
    line: { width: 1.5, color: accent }, marker: { size: 5, color: accent },
  });
  return lines;
}
