// Mouse, pen and fingers on the image: wheel and pinch zoom, drag pans, the place under the cursor.

// `view` has at(px, py), factor, centre, enlarge(by, px, py), pan(dx, dy), fit(), point(place or null).
export function follow(canvas, view) {
  const down = new Map();
  const place = (event) => [event.offsetX, event.offsetY];

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.enlarge(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), ...place(event));
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    view.point(place(event));
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return view.point(place(event));
    const now = place(event);
    if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const length = (at) => Math.max(8, Math.hypot(at[0] - other[0], at[1] - other[1]));
      view.enlarge(length(now) / length(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    if (down.size <= 2) view.pan((now[0] - before[0]) / down.size, (now[1] - before[1]) / down.size);
    down.set(event.pointerId, now);
    if (down.size === 1) view.point(now);
  });

  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => down.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => view.point(null));
  canvas.addEventListener("dblclick", () => view.fit());
}
