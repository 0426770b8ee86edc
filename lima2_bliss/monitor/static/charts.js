// Charts: strip charts of the scan, radial background, resolution of spots, hit map. Plotly draws them.

const TITLES = {
  hit_rate: "Hit rate", nb_peaks: "Spots per frame", background: "Radial background", resolution: "Resolution of spots",
  map: "Hits over the scan", frame_rate: "Frames per second", latency: "Latency", background_level: "Background level",
};

export class Charts {
  // `file(name)` is the address of a chart's CSV.
  constructor(place, file) {
    this.place = place;
    this.file = file;
    this.charts = new Map();
  }

  // Keep exactly these charts, in this order.
  keep(names) {
    for (const [name, chart] of this.charts) {
      if (!names.includes(name)) {
        Plotly.purge(chart.plot);
        chart.box.remove();
        this.charts.delete(name);
      }
    }
    for (const name of names) if (!this.charts.has(name)) this.charts.set(name, this.make(name));
  }

  make(name) {
    const box = document.createElement("div");
    box.id = `chart-${name}`;
    const head = document.createElement("h2");
    head.textContent = TITLES[name] ?? name;
    const file = document.createElement("a");
    file.textContent = "CSV";
    file.download = "";
    file.href = this.file(name);
    head.append(file);
    const plot = document.createElement("div");
    plot.className = "plot";
    box.append(head, plot);
    this.place.append(box);
    return { box, plot, file };
  }

  refile() {
    for (const [name, chart] of this.charts) chart.file.href = this.file(name);
  }

  show(message) {
    const chart = this.charts.get(message.name);
    if (!chart) return;
    chart.box.dataset.points = (message.y ?? message.counts ?? []).length;
    chart.box.dataset.last = message.y?.length ? message.y[message.y.length - 1] : "";
    chart.message = message;
    const style = getComputedStyle(document.documentElement);
    const [text, line, accent] = ["--text", "--line", "--accent"].map((name) => style.getPropertyValue(name).trim());
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
    const layout = {
      margin: { l: 52, r: 10, t: 6, b: 34 }, showlegend: false, uirevision: message.name,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, size: 12 },
      xaxis: { ...axis, title: { text: message.x_title ?? "frame", standoff: 4 } },
      yaxis: { ...axis, title: { text: message.y_title ?? "", standoff: 4 }, rangemode: "tozero" },
    };
    Plotly.react(chart.plot, traces(message, accent), layout, { displaylogo: false, responsive: true, displayModeBar: false });
  }

  // Draw all again, in the colours of the theme.
  again() {
    for (const chart of this.charts.values()) if (chart.message) this.show(chart.message);
  }
}

function traces(message, accent) {
  if (message.kind === "map") {
    return [{ type: "heatmap", x: message.x, y: message.y, z: message.z, colorscale: "Viridis", hoverongaps: false }];
  }
  if (message.kind === "bars") return [{ type: "bar", x: message.x, y: message.counts, marker: { color: accent } }];
  const lines = [];
  if (message.lo && message.hi) {
    const none = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    lines.push({ ...none, x: message.x, y: message.lo });
    lines.push({ ...none, x: message.x, y: message.hi, fill: "tonexty", fillcolor: `${accent}33` });
  }
  lines.push({ type: "scatter", mode: "lines", x: message.x, y: message.y, line: { width: 1.5, color: accent } });
  return lines;
}
