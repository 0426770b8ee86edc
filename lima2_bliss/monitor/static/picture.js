// The detector image: colours, zoom and pan, spots, resolution rings, the value under the cursor.

import { paint, range } from "./colours.js";

const RINGS_NM = [5, 2, 1, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15];

// Where pixel (y, x) of a picture lies: pictures are binned by `binning` and begin at `origin` of the full frame.
class Tile {
  constructor(header, data) {
    this.header = header;
    this.data = data;
    this.canvas = new OffscreenCanvas(header.shape[1], header.shape[0]);
  }

  paint(low, high, log, map) {
    const [height, width] = this.header.shape;
    const image = new ImageData(width, height);
    paint(this.data, new Uint32Array(image.data.buffer), low, high, log, map);
    this.canvas.getContext("2d").putImageData(image, 0, 0);
  }

  value(y, x) {
    const { binning, origin, shape } = this.header;
    const row = Math.floor((y - origin[0]) / binning);
    const column = Math.floor((x - origin[1]) / binning);
    if (row < 0 || column < 0 || row >= shape[0] || column >= shape[1]) return undefined;
    return this.data[row * shape[1] + column];
  }
}

export class Picture {
  // `wanted(region)` is called when the visible part deserves more pixels than the picture has.
  constructor(canvas, under, wanted) {
    this.canvas = canvas;
    this.under = under;
    this.wanted = wanted;
    this.tile = null;
    this.region = null;
    this.geometry = null;
    this.settings = { scale: "auto", map: "grey", low: null, high: null, spots: true, rings: false };
    this.zoom = 0; // 0: the whole frame; else screen pixels per detector pixel
    this.centre = [0, 0];
    this.cursor = null;
    this.drawn = false;
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => (this.held = null));
    canvas.addEventListener("pointerleave", () => { this.cursor = null; this.tell(); });
    canvas.addEventListener("dblclick", () => this.fit());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(header, data) {
    const tile = new Tile(header, data);
    if (header.type === "region") {
      if (!this.tile || header.index !== this.tile.header.index) return;
      this.region = tile;
    } else {
      const shape = this.tile?.header.full_shape;
      if (!shape || shape[0] !== header.full_shape[0] || shape[1] !== header.full_shape[1]) this.zoom = 0;
      this.tile = tile;
      this.region = null;
      this.ask();
    }
    this.repaint();
  }

  clear() {
    this.tile = this.region = null;
    this.draw();
  }

  set(settings) {
    Object.assign(this.settings, settings);
    this.repaint();
  }

  repaint() {
    if (this.tile) {
      const { scale, map, low, high } = this.settings;
      const log = scale === "log";
      const [auto_low, auto_high] = range(this.tile.data, log);
      this.low = low ?? auto_low;
      this.high = high ?? auto_high;
      this.tile.paint(this.low, this.high, log, map);
      this.region?.paint(this.low, this.high, log, map);
    }
    this.draw();
  }

  // --- places ---------------------------------------------------------------------------------------------------

  get full() {
    return this.tile.header.full_shape;
  }

  get factor() {
    const [height, width] = this.full;
    const whole = Math.min(this.canvas.clientWidth / width, this.canvas.clientHeight / height);
    return this.zoom > 0 ? this.zoom : whole;
  }

  // Detector pixel at a place of the canvas, and back.
  at(px, py) {
    const [y, x] = this.zoom > 0 ? this.centre : [this.full[0] / 2, this.full[1] / 2];
    const factor = this.factor;
    return [y + (py - this.canvas.clientHeight / 2) / factor, x + (px - this.canvas.clientWidth / 2) / factor];
  }

  place(y, x) {
    const [cy, cx] = this.zoom > 0 ? this.centre : [this.full[0] / 2, this.full[1] / 2];
    const factor = this.factor;
    return [this.canvas.clientWidth / 2 + (x - cx) * factor, this.canvas.clientHeight / 2 + (y - cy) * factor];
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    if (!this.tile) return;
    pen.imageSmoothingEnabled = false;
    for (const tile of [this.tile, this.region]) {
      if (!tile) continue;
      const { origin, shape, binning } = tile.header;
      const [x0, y0] = this.place(origin[0], origin[1]);
      pen.drawImage(tile.canvas, x0, y0, shape[1] * binning * this.factor, shape[0] * binning * this.factor);
    }
    if (this.settings.rings) this.rings(pen);
    if (this.settings.spots) this.spots(pen);
    this.canvas.dataset.index = this.tile.header.index;
    this.canvas.dataset.spots = (this.tile.header.spots ?? []).length;
    this.canvas.dataset.region = this.region ? this.region.header.shape.join("x") : "";
    this.tell();
  }

  spots(pen) {
    pen.strokeStyle = "#ff3b30";
    pen.lineWidth = 1.5;
    for (const [y, x] of this.tile.header.spots ?? []) {
      const [px, py] = this.place(y + 0.5, x + 0.5);
      pen.beginPath();
      pen.arc(px, py, Math.max(5, 4 * this.factor), 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  rings(pen) {
    const where = this.geometry;
    if (!where) return;
    pen.strokeStyle = pen.fillStyle = "#42d4f4";
    pen.lineWidth = 1;
    pen.font = "12px system-ui";
    for (const d of RINGS_NM) {
      const sine = where.wavelength_nm / (2 * d);
      if (sine >= Math.SQRT1_2) continue;
      const radius = (where.distance_m * Math.tan(2 * Math.asin(sine))) / where.pixel_m;
      const [px, py] = this.place(where.beam_y + 0.5, where.beam_x + 0.5);
      pen.beginPath();
      pen.arc(px, py, radius * this.factor, 0, 2 * Math.PI);
      pen.stroke();
      pen.fillText(`${(d * 10).toPrecision(2)} \u00c5`, px + 3, py - radius * this.factor - 3);
    }
  }

  tell() {
    let text = "\u00a0";
    if (this.tile) {
      const { index, where, binning, full_shape: [height, width] } = this.tile.header;
      text = `frame ${index}   ${width} x ${height} px, from ${where}   shown ${fixed(this.low)} to ${fixed(this.high)}`;
      if (this.cursor) {
        const [y, x] = this.at(...this.cursor);
        const fine = this.region?.value(y, x);
        const value = fine ?? this.tile.value(y, x);
        if (value !== undefined) {
          const mean = fine === undefined && binning > 1 ? ` (mean of ${binning} x ${binning})` : "";
          text += `   x ${Math.floor(x)} y ${Math.floor(y)}: ${value !== value ? "no value" : fixed(value)}${mean}`;
          text += this.resolution(y, x);
        }
      }
    }
    this.under.textContent = text;
  }

  resolution(y, x) {
    const where = this.geometry;
    if (!where) return "";
    const radius = Math.hypot(y - where.beam_y, x - where.beam_x) * where.pixel_m;
    const sine = Math.sin(Math.atan(radius / where.distance_m) / 2);
    return sine > 0 ? `   ${((10 * where.wavelength_nm) / (2 * sine)).toPrecision(3)} \u00c5` : "";
  }

  // --- zoom and pan ---------------------------------------------------------------------------------------------

  wheel(event) {
    event.preventDefault();
    this.enlarge(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
  }

  enlarge(by, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    if (!this.tile) return;
    const [y, x] = this.at(px, py);
    const [height, width] = this.full;
    const whole = Math.min(this.canvas.clientWidth / width, this.canvas.clientHeight / height);
    const factor = Math.min(64, this.factor * by);
    if (factor <= whole) return this.fit();
    this.zoom = factor;
    this.centre = [y - (py - this.canvas.clientHeight / 2) / factor, x - (px - this.canvas.clientWidth / 2) / factor];
    this.moved();
  }

  fit() {
    this.zoom = 0;
    this.region = null;
    this.moved();
  }

  grab(event) {
    this.canvas.setPointerCapture(event.pointerId);
    if (!this.tile) return;
    this.held = { at: [event.offsetX, event.offsetY], centre: this.zoom > 0 ? [...this.centre] : null };
  }

  move(event) {
    this.cursor = [event.offsetX, event.offsetY];
    if (this.held?.centre) {
      const { at, centre } = this.held;
      this.centre = [centre[0] - (event.offsetY - at[1]) / this.factor, centre[1] - (event.offsetX - at[0]) / this.factor];
      this.moved();
    } else this.tell();
  }

  moved() {
    this.draw();
    this.ask();
    this.canvas.dispatchEvent(new Event("moved"));
  }

  // Ask for the visible part in more pixels, once the view is at rest.
  ask() {
    clearTimeout(this.asking);
    if (!this.tile || this.tile.header.binning <= 1 || this.zoom <= 0) return;
    this.asking = setTimeout(() => {
      if (!this.tile || this.zoom <= 0) return;
      const [y0, x0] = this.at(0, 0);
      const [y1, x1] = this.at(this.canvas.clientWidth, this.canvas.clientHeight);
      const [height, width] = this.full;
      const box = {
        index: this.tile.header.index,
        y0: Math.max(0, Math.floor(y0)), x0: Math.max(0, Math.floor(x0)),
        y1: Math.min(height, Math.ceil(y1)), x1: Math.min(width, Math.ceil(x1)),
      };
      if (box.y1 > box.y0 && box.x1 > box.x0) this.wanted(box);
    }, 150);
  }
}

function fixed(value) {
  if (value === undefined || value === null) return "";
  return Number.isInteger(value) ? String(value) : Number(value).toPrecision(5);
}
