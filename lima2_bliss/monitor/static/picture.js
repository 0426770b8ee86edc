// The detector image: colours, zoom and pan, what lies over it, the value under the cursor.

import { GAP_COLOUR, range } from "./colours.js";
import { follow } from "./gestures.js";
import { drawRings, drawRois, drawSpots, resolutionAt, ringsOf, spotAt } from "./overlay.js";
import { Tile } from "./tile.js";

export class Picture {
  // `wanted(region)` is called when the visible part deserves more pixels than the picture has.
  constructor(canvas, under, wanted) {
    this.canvas = canvas;
    this.under = under;
    this.wanted = wanted;
    this.tile = null;
    this.region = null;
    this.geometry = null;
    this.regions = null; // ROIs of the scan
    this.settings = { scale: "auto", map: "grey", low: null, high: null, spots: true, rings: false, radii: "", rois: false };
    this.zoom = 0; // 0: the whole frame; else screen pixels per detector pixel
    this.centre = [0, 0];
    this.cursor = null;
    this.wide = null; // scale "auto": log or not, decided once for a scan
    this.painted = () => {}; // called with (data, low, high, log) after each change
    follow(canvas, this);
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(header, data) {
    const tile = new Tile(header, data);
    if (header.type === "region") {
      if (!this.tile || header.index !== this.tile.header.index) return;
      this.region = tile;
    } else {
      const shape = this.tile?.header.full_shape;
      // a zoom that came with the link stays with the first picture
      if (shape && (shape[0] !== header.full_shape[0] || shape[1] !== header.full_shape[1])) this.zoom = 0;
      this.tile = tile;
      this.region = null;
      this.ask();
    }
    this.repaint();
  }

  clear() {
    this.tile = this.region = this.wide = null;
    this.draw();
  }

  set(settings) {
    Object.assign(this.settings, settings);
    this.repaint();
  }

  repaint() {
    if (this.tile) {
      const { scale, map, low, high } = this.settings;
      const found = range(this.tile.data);
      this.wide ??= found.wide;
      this.log = scale === "log" || (scale === "auto" && this.wide);
      this.low = low ?? (this.log ? found.lowAbove0 : found.low);
      this.high = high ?? found.high;
      if (!(this.high > this.low)) this.high = this.low + 1;
      this.tile.paint(this.low, this.high, this.log, map);
      this.region?.paint(this.low, this.high, this.log, map);
      this.painted(this.tile.data, this.low, this.high, this.log);
    }
    this.draw();
  }

  // --- places ---------------------------------------------------------------------------------------------------

  get full() {
    return this.tile.header.full_shape;
  }

  get whole() {
    const [height, width] = this.full;
    return Math.min(this.canvas.clientWidth / width, this.canvas.clientHeight / height);
  }

  get factor() {
    return this.zoom > 0 ? this.zoom : this.whole;
  }

  get middle() {
    return this.zoom > 0 ? this.centre : [this.full[0] / 2, this.full[1] / 2];
  }

  // Detector pixel at a place of the canvas, and back.
  at(px, py) {
    const [y, x] = this.middle;
    return [y + (py - this.canvas.clientHeight / 2) / this.factor, x + (px - this.canvas.clientWidth / 2) / this.factor];
  }

  place(y, x) {
    const [cy, cx] = this.middle;
    const factor = this.factor;
    return [this.canvas.clientWidth / 2 + (x - cx) * factor, this.canvas.clientHeight / 2 + (y - cy) * factor];
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    if (this.tile) {
      const pen = this.canvas.getContext("2d");
      pen.scale(ratio, ratio);
      this.drawOn(pen);
      const { header } = this.tile;
      this.canvas.dataset.index = header.index;
      this.canvas.dataset.spots = (header.spots ?? []).length;
      this.canvas.dataset.region = this.region ? this.region.header.shape.join("x") : "";
    }
    this.tell();
  }

  drawOn(pen) {
    pen.imageSmoothingEnabled = false;
    const place = (y, x) => this.place(y, x);
    const [left, top] = place(0, 0);
    const [right, bottom] = place(...this.full);
    pen.fillStyle = GAP_COLOUR; // what the picture does not reach
    pen.fillRect(left, top, right - left, bottom - top);
    for (const tile of [this.tile, this.region]) {
      if (!tile) continue;
      const { origin, shape, binning } = tile.header;
      const [x, y] = place(origin[0], origin[1]);
      pen.drawImage(tile.canvas, x, y, shape[1] * binning * this.factor, shape[0] * binning * this.factor);
    }
    const size = Number.parseFloat(getComputedStyle(this.canvas).fontSize);
    const { rois, rings, spots, radii } = this.settings;
    if (rois) drawRois(pen, this.regions, place, this.factor, size);
    if (rings && this.geometry) drawRings(pen, this.geometry, ringsOf(radii), place, this.factor, size);
    if (spots) drawSpots(pen, this.tile.header.spots ?? [], place, this.factor, this.near, size);
  }

  // --- under the image ------------------------------------------------------------------------------------------

  point(place) {
    this.cursor = place;
    const near = place && this.tile && this.settings.spots
      ? spotAt(this.tile.header.spots ?? [], (y, x) => this.place(y, x), ...place) : null;
    if (near !== this.near) {
      this.near = near;
      this.draw();
    } else this.tell();
  }

  tell() {
    const parts = [];
    if (this.tile) {
      const { index, where, full_shape: [height, width], spots } = this.tile.header;
      parts.push(where === "stream" ? `sum ${index}` : `frame ${index}`, `${width} x ${height} px, from ${where}`, `${(spots ?? []).length} spots`);
      if (this.cursor) parts.push(...this.under_cursor());
    }
    this.under.textContent = parts.join("   ") || "\u00a0";
  }

  under_cursor() {
    if (this.near) {
      const [y, x, intensity] = this.near;
      return [`spot at x ${x.toFixed(1)} y ${y.toFixed(1)}`, `intensity ${fixed(intensity)}`, this.resolution(y, x)];
    }
    const [y, x] = this.at(...this.cursor);
    const fine = this.region?.value(y, x);
    const value = fine ?? this.tile.value(y, x);
    if (value === undefined) return [];
    const { binning } = this.tile.header;
    const mean = fine === undefined && binning > 1 ? ` (mean of ${binning} x ${binning})` : "";
    const told = value !== value ? "no value" : fixed(value);
    return [`x ${Math.floor(x)} y ${Math.floor(y)}: ${told}${mean}`, this.resolution(y - 0.5, x - 0.5)];
  }

  resolution(y, x) {
    const d = resolutionAt(this.geometry, y, x);
    return d === undefined ? "" : `${d.toPrecision(3)} \u00c5`;
  }

  // --- zoom and pan ---------------------------------------------------------------------------------------------

  enlarge(by, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    if (!this.tile) return;
    const [y, x] = this.at(px, py);
    const factor = Math.min(64, this.factor * by);
    if (factor <= this.whole) return this.fit();
    this.zoom = factor;
    this.centre = [y - (py - this.canvas.clientHeight / 2) / factor, x - (px - this.canvas.clientWidth / 2) / factor];
    this.moved();
  }

  pan(dx, dy) {
    if (!this.tile || this.zoom <= 0) return;
    this.centre = [this.centre[0] - dy / this.factor, this.centre[1] - dx / this.factor];
    this.moved();
  }

  fit() {
    this.zoom = 0;
    this.region = null;
    this.moved();
  }

  moved() {
    this.canvas.classList.toggle("zoomed", this.zoom > 0);
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

export function fixed(value) {
  if (value === undefined || value === null) return "";
  return Number.isInteger(value) ? String(value) : String(Number(Number(value).toPrecision(5)));
}
