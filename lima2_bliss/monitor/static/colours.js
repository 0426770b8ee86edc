// Colour maps: 256 RGBA words each, made from a few anchors.

const ANCHORS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  inverse: [[255, 255, 255], [0, 0, 0]],
  heat: [[0, 0, 0], [140, 10, 10], [230, 90, 10], [255, 210, 60], [255, 255, 255]],
  viridis: [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]],
  blue: [[8, 12, 40], [20, 70, 160], [60, 160, 220], [190, 235, 250], [255, 255, 255]],
};
// what has no value: gaps, masked pixels
const GAP = 0xff4a3a2e;
export const GAP_COLOUR = "#2e3a4a";

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

// At most so many values, evenly spread, in ascending order.
export function sample(data, most = 20000) {
  const step = Math.max(1, Math.floor(data.length / most));
  const values = [];
  for (let i = 0; i < data.length; i += step) if (Number.isFinite(data[i])) values.push(data[i]);
  return Float64Array.from(values).sort();
}

// Lowest and highest value to show: percentiles of a sample, so that a few hot pixels do not decide. `wide`: better
// shown on a logarithmic scale.
export function range(data) {
  const values = sample(data);
  const n = values.length;
  if (!n) return { low: 0, lowAbove0: 1, high: 1, wide: false };
  const part = (share) => values[Math.min(n - 1, Math.floor(n * share))];
  const [low, high] = [part(0.01), part(0.998)];
  const above0 = values.findIndex((value) => value > 0);
  const lowAbove0 = above0 < 0 ? 1 : values[Math.min(n - 1, above0 + Math.floor((n - above0) * 0.01))];
  return { low, lowAbove0, high, wide: low >= 0 && part(0.9995) > 30 * Math.max(part(0.5), 0.5) };
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
