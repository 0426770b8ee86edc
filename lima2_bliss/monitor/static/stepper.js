// Steps through frames or hits, by hand or by itself.

export class Stepper {
  // `now()`: frame that is shown; `hits()`: known hits, [index, spots]; `show(index)`.
  constructor({ now, hits, show, changed }) {
    Object.assign(this, { now, hits, show, changed });
    this.timer = null;
  }

  frame(by) {
    this.show(Math.max(0, (this.now() ?? 0) + by));
  }

  // The next hit (by 1) or the one before (by -1); false when there is none.
  hit(by) {
    const now = this.now() ?? -1;
    const known = this.hits().map(([index]) => index).sort((a, b) => (a - b) * by);
    const next = known.find((index) => (index - now) * by > 0);
    if (next === undefined) return false;
    this.show(next);
    return true;
  }

  get playing() {
    return this.timer !== null;
  }

  // Play the hits from the one shown on, each for so long; from the first known one again when it was the last.
  play(each_ms = 700) {
    this.stop();
    const step = () => {
      if (!this.hit(1)) {
        const first = Math.min(...this.hits().map(([index]) => index));
        if (Number.isFinite(first)) this.show(first);
      }
    };
    step();
    this.timer = setInterval(step, each_ms);
    this.changed(true);
  }

  stop() {
    if (this.timer === null) return;
    clearInterval(this.timer);
    this.timer = null;
    this.changed(false);
  }
}
