// What is drawn over the image: spots, resolution rings, ROIs; and the resolution of a place.
//
// `place(y, x)` gives the place on the canvas of a place on the detector; pixel centres are at whole numbers + 0.5.

const RINGS = [50, 20, 10, 7, 5, 4, 3, 2.5, 2, 1.5];

// Rings [Angstrom] that a user has typed; those that are usual when there are none.
export function ringsOf(text) {
  const given = text.split(/[\s,;]+/).map(Number).filter((d) => d > 0);
  return given.length ? given : RINGS;
}

// `size`: of writing [px]; lines are thicker where it is larger.
export function drawSpots(pen, spots, place, factor, near, size) {
  const radius = Math.max(0.4 * size, 4 * factor);
  pen.lineWidth = size / 9;
  for (const spot of spots) {
    const [px, py] = place(spot[0] + 0.5, spot[1] + 0.5);
    pen.strokeStyle = spot === near ? "#ffd60a" : "#ff3b30";
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.stroke();
  }
}

// The spot nearest to a place of the canvas, if it is near.
export function spotAt(spots, place, px, py) {
  let found = null;
  let least = 12;
  for (const spot of spots) {
    const [x, y] = place(spot[0] + 0.5, spot[1] + 0.5);
    const distance = Math.hypot(x - px, y - py);
    if (distance < least) [found, least] = [spot, distance];
  }
  return found;
}

// Radius [px] of a resolution [Angstrom]; undefined beyond 90 degrees.
function ringRadius(where, d) {
  const sine = (where.wavelength_nm * 10) / (2 * d);
  if (sine >= Math.SQRT1_2) return undefined;
  return (where.distance_m * Math.tan(2 * Math.asin(sine))) / where.pixel_m;
}

// Resolution [Angstrom] of a place on the detector; undefined without a geometry and in the beam itself.
export function resolutionAt(where, y, x) {
  if (!where) return undefined;
  const radius = Math.hypot(y - where.beam_y, x - where.beam_x) * where.pixel_m;
  const sine = Math.sin(Math.atan(radius / where.distance_m) / 2);
  return sine > 0 ? (10 * where.wavelength_nm) / (2 * sine) : undefined;
}

function label(pen, text, x, y) {
  pen.lineWidth = 4;
  pen.lineJoin = "round";
  pen.strokeStyle = "#000b";
  pen.strokeText(text, x, y);
  pen.fillText(text, x, y);
}

export function drawRings(pen, where, rings, place, factor, size) {
  pen.font = `${size}px system-ui, sans-serif`;
  pen.textAlign = "center";
  const [px, py] = place(where.beam_y + 0.5, where.beam_x + 0.5);
  let labelled = 0;
  for (const d of [...rings].sort((a, b) => b - a)) {
    const radius = ringRadius(where, d) * factor;
    if (!(radius > 6)) continue;
    pen.strokeStyle = "#42d4f4";
    pen.lineWidth = size / 13;
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.stroke();
    if (radius - labelled < size * 2.2) continue;
    labelled = radius;
    // on the diagonal, where a square detector reaches farthest
    pen.fillStyle = "#8be9fd";
    label(pen, `${Number(d.toPrecision(3))} \u00c5`, px + radius * Math.SQRT1_2, py - radius * Math.SQRT1_2);
  }
  pen.textAlign = "start";
  pen.strokeStyle = "#42d4f4";
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(px - 6, py);
  pen.lineTo(px + 6, py);
  pen.moveTo(px, py - 6);
  pen.lineTo(px, py + 6);
  pen.stroke();
}

// ROIs as the scan describes them: {name: {kind, coordinates}}.
export function drawRois(pen, rois, place, factor, size) {
  pen.font = `${size}px system-ui, sans-serif`;
  for (const [name, { kind, coordinates: at }] of Object.entries(rois ?? {})) {
    if (!Array.isArray(at)) continue;
    pen.strokeStyle = pen.fillStyle = "#4cd964";
    pen.lineWidth = size / 9;
    pen.beginPath();
    if (kind === "arc") {
      const [px, py] = place(at[1], at[0]);
      const [from, to] = [at[4], at[5]].map((degrees) => (degrees * Math.PI) / 180);
      pen.arc(px, py, at[3] * factor, from, to);
      pen.arc(px, py, at[2] * factor, to, from, true);
      pen.closePath();
      pen.stroke();
      label(pen, name, px + at[3] * factor * Math.cos(from), py + at[3] * factor * Math.sin(from));
    } else {
      const [px, py] = place(at[1], at[0]);
      pen.rect(px, py, at[2] * factor, at[3] * factor);
      pen.stroke();
      label(pen, name, px + 4, py + size + 2);
    }
  }
}
