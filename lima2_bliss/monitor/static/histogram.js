// The colour bar with the histogram of the image over it: drag its two ends to choose what is shown.
//
// Its axis is logarithmic for large values and linear around 0, so that dark pixels and bright spots both have room.

import { sample, table } from "./colours.js";
import { fixed } from "./picture.js";

export class Histogram {
  // `chosen(low, high)`: the user wants this range, null for an end that follows the image.
  constructor(canvas, chosen) {
    this.canvas = canvas;
    this.chosen = chosen;
    this.held = null;
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", () => (this.held = null));
    canvas.addEventListener("dblclick", () => chosen(null, null));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(data, low, high, log, map) {
    Object.assign(this, { low, high, log, map });
    if (!this.held) this.count(data);
    this.draw();
  }

  count(data) {
    const values = sample(data, 10000);
    if (!values.length) return;
    this.least = Math.min(values[0], this.low);
    this.most = Math.max(values[values.length - 1], this.high, this.least + 1e-6);
    this.counts = new Float64Array(120);
    for (const value of values) this.counts[Math.min(119, Math.floor(this.part(value) * 120))]++;
  }

  // 0 to 1 along the axis, and back.
  part(value) {
    const [from, to] = [Math.asinh(this.least), Math.asinh(this.most)];
    return (Math.asinh(value) - from) / (to - from);
  }

  value(part) {
    const [from, to] = [Math.asinh(this.least), Math.asinh(this.most)];
    return Math.sinh(from + Math.min(1, Math.max(0, part)) * (to - from));
  }

  colour(value) {
    const on = (v) => (this.log ? Math.log(Math.max(v, 1e-3)) : v);
    const part = (on(value) - on(this.low)) / (on(this.high) - on(this.low));
    const word = table(this.map)[Math.round(255 * Math.min(1, Math.max(0, part)))];
    return `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (!this.counts || !width) return;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const size = Number.parseFloat(style.fontSize);
    const [bar, base] = [size, height - 2.4 * size];
    const most = Math.log1p(Math.max(...this.counts));
    pen.fillStyle = style.getPropertyValue("--dim");
    this.counts.forEach((count, i) => {
      const tall = (Math.log1p(count) / most) * (base - 2);
      pen.fillRect((i * width) / 120, base - tall, width / 120 - 0.5, tall);
    });
    for (let x = 0; x < width; x += 2) {
      pen.fillStyle = this.colour(this.value((x + 1) / width));
      pen.fillRect(x, base, 2, bar);
    }
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.strokeRect(0.5, base + 0.5, width - 1, bar - 1);
    this.labels(pen, width, height, style);
    pen.fillStyle = style.getPropertyValue("--accent");
    for (const end of [this.low, this.high]) {
      const x = Math.min(width - 1.5, Math.max(1.5, this.part(end) * width));
      pen.fillRect(x - 1.5, 0, 3, base + bar);
    }
  }

  labels(pen, width, height, style) {
    pen.fillStyle = style.getPropertyValue("--text");
    pen.font = `${style.fontSize} system-ui, sans-serif`;
    pen.textBaseline = "bottom";
    const number = Math.max(2, Math.min(7, Math.floor(width / 90)));
    for (let i = 0; i <= number; i++) {
      pen.textAlign = i === 0 ? "left" : i === number ? "right" : "center";
      const value = this.value(i / number);
      const text = Math.abs(value) >= 10 ? fixed(Math.round(value)) : fixed(Number(value.toPrecision(2)));
      pen.fillText(text, (i * width) / number, height);
    }
  }

  grab(event) {
    if (!this.counts) return;
    this.canvas.setPointerCapture(event.pointerId);
    const part = event.offsetX / this.canvas.clientWidth;
    this.held = Math.abs(part - this.part(this.low)) < Math.abs(part - this.part(this.high)) ? "low" : "high";
    this.drag(event);
  }

  drag(event) {
    if (!this.held) return;
    const value = Number(this.value(event.offsetX / this.canvas.clientWidth).toPrecision(3));
    if (this.held === "low" && value < this.high) this.chosen(value, this.high);
    if (this.held === "high" && value > this.low) this.chosen(this.low, value);
  }
}
