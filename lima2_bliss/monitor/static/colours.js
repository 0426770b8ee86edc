// Colour maps: 256 RGBA words each, made from a few anchors.

const ANCHORS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  inverse: [[255, 255, 255], [0, 0, 0]],
  heat: [[0, 0, 0], [140, 10, 10], [230, 90, 10], [255, 210, 60], [255, 255, 255]],
  viridis: [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]],
  blue: [[8, 12, 40], [20, 70, 160], [60, 160, 220], [190, 235, 250], [255, 255, 255]],
};
// what has no value: gaps, masked pixels
export const GAP = 0xff4a3a2e;

export const names = Object.keys(ANCHORS);

const made = new Map();

export function table(name) {
  if (!made.has(name)) {
    const anchors = ANCHORS[name] ?? ANCHORS.grey;
    const words = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      const place = (i / 255) * (anchors.length - 1);
      const k = Math.min(Math.floor(place), anchors.length - 2);
      const part = place - k;
      const [r, g, b] = anchors[k].map((from, c) => Math.round(from + (anchors[k + 1][c] - from) * part));
      words[i] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
    made.set(name, words);
  }
  return made.get(name);
}

// Lowest and highest value to show: percentiles of a sample, so that a few hot pixels do not decide.
export function range(data, log) {
  const step = Math.max(1, Math.floor(data.length / 20000));
  const sample = [];
  for (let i = 0; i < data.length; i += step) {
    if (Number.isFinite(data[i]) && (!log || data[i] > 0)) sample.push(data[i]);
  }
  if (!sample.length) return [0, 1];
  sample.sort((a, b) => a - b);
  const low = sample[Math.floor(sample.length * 0.01)];
  const high = sample[Math.min(sample.length - 1, Math.floor(sample.length * 0.998))];
  return high > low ? [low, high] : [low, low + 1];
}

// Pixels as colours: `data` on [low, high], linear or logarithmic, into an RGBA word per pixel.
export function paint(data, words, low, high, log, map) {
  const colours = table(map);
  const floor = log ? Math.log(Math.max(low, 1e-3)) : low;
  const ceiling = log ? Math.log(Math.max(high, 2e-3)) : high;
  const factor = 255 / (ceiling - floor || 1);
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (value !== value) {
      words[i] = GAP;
      continue;
    }
    const at = ((log ? (value > 0 ? Math.log(value) : floor) : value) - floor) * factor;
    words[i] = colours[at <= 0 ? 0 : at >= 255 ? 255 : at | 0];
  }
}
