// What the gateway last said, and whom that concerns. Events are applied at once, drawn once a frame.

const NAMED = { pools: "name", actors: "name", members: "model" };
const KEPT = 50;

export class Store {
  constructor() {
    this.state = {
      now: 0, gateway: null, pools: [], members: [], actors: [], requests: [], messages: [], rates: null, governance: null,
    };
    this.deadlines = new Map();
    this.readers = [];
    this.touched = new Set();
    this.frame = 0;
  }

  /** `draw(state)` is called after any of the sections has changed. */
  on(sections, draw) {
    this.readers.push({ sections, draw });
  }

  apply(type, data) {
    if (type === "snapshot") this.put(data);
    else if (type === "change") this.change(data);
    else return;
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  put(sections) {
    Object.assign(this.state, sections);
    for (const section of Object.keys(sections)) this.touched.add(section);
  }

  change({ replace = {}, set = {}, prepend = {} }) {
    this.put(replace);
    for (const [section, entries] of Object.entries(set)) {
      const name = NAMED[section];
      const changed = new Map(entries.map((entry) => [entry[name], entry]));
      this.put({ [section]: this.state[section].map((entry) => changed.get(entry[name]) ?? entry) });
    }
    for (const [section, entries] of Object.entries(prepend)) {
      this.put({ [section]: [...entries, ...this.state[section]].slice(0, KEPT) });
    }
  }

  draw() {
    this.frame = 0;
    const touched = this.touched;
    this.touched = new Set();
    for (const { sections, draw } of this.readers) {
      if (sections.some((section) => touched.has(section))) draw(this.state);
    }
  }

  /** When something ends of which `secs` were left when `told` came, in milliseconds of `performance.now()`. The
   *  gateway tells whole seconds, so an end that was reckoned before stands as long as it agrees: the countdown does
   *  not stutter. */
  ends(name, told, secs) {
    if (told === null || !(secs > 0)) {
      this.deadlines.delete(name);
      return null;
    }
    const before = this.deadlines.get(name);
    if (before?.told === told) return before.ends;
    let [ends, whole_ms] = [performance.now() + secs * 1000, secs * 1000];
    if (before !== undefined && before.ends <= ends + 300 && before.ends >= ends - 1400) {
      [ends, whole_ms] = [Math.min(ends, before.ends), before.whole_ms];
    }
    this.deadlines.set(name, { told, ends, whole_ms });
    return ends;
  }

  /** What is left of it, of 0 to 1, where 1 is what was left when it was first heard of. */
  left(name, now) {
    const known = this.deadlines.get(name);
    return known === undefined ? 0 : Math.max(0, Math.min(1, (known.ends - now) / known.whole_ms));
  }
}
