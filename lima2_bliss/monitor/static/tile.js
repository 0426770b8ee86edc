// A picture as it came: where each of its pixels lies, their colours and values.

import { paint } from "./colours.js";

// Pictures are binned by `binning`, and begin at `origin` (y, x) of the full frame.
export class Tile {
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

  // Value at a place of the full frame; undefined outside.
  value(y, x) {
    const { binning, origin, shape } = this.header;
    const row = Math.floor((y - origin[0]) / binning);
    const column = Math.floor((x - origin[1]) / binning);
    if (row < 0 || column < 0 || row >= shape[0] || column >= shape[1]) return undefined;
    return this.data[row * shape[1] + column];
  }
}
