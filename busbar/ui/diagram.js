// The busbar as a picture: one feed in, pools along the bar, a breakered circuit to each member.

import { capped, told } from "./circuits.js";
import { attr, keyed, shown, svg, text } from "./dom.js";
import { many, rate } from "./format.js";

const FLOWS_MS = 1500; // a circuit shows load for so long after a request was sent along it
const ROW = 40;
const WIDE_FROM = 560;

/** Where things stand, in CSS pixels, for a picture so wide. */
function plan(width) {
  if (width >= WIDE_FROM) {
    const slots = Math.min(240, width * 0.28);
    return {
      wide: true, width, gap: 18, top: 10, bus: 84, box: [104, 124], bar: 250,
      arm: 270, wire: 322, name: 334, slots: [width - slots - 50, slots],
    };
  }
  const slots = Math.max(40, width * 0.2);
  return {
    wide: false, width, gap: 12, top: 34, bus: 7, box: [24, 0], bar: 24,
    arm: 36, wire: 78, name: 86, slots: [width - slots - 44, slots],
  };
}

export class Diagram {
  constructor(host, more) {
    this.title = svg("title", { id: "diagram-title" }, "The circuits of the gateway");
    this.desc = svg("desc", { id: "diagram-desc" });
    this.bus = svg("path", { class: "bus" });
    this.feed = svg("path", { class: "wire heavy" });
    this.feedFlow = svg("path", { class: "flow" });
    this.ingress = svg("text", { class: "strong" }, "ingress");
    this.ingressRate = svg("text", { class: "soft" });
    this.pools = svg("g");
    this.root = svg(
      "svg",
      { role: "img", "aria-labelledby": "diagram-title", "aria-describedby": "diagram-desc" },
      this.title, this.desc, this.feed, this.feedFlow, this.bus, this.ingress, this.ingressRate, this.pools,
    );
    Object.assign(this, { host, more, groups: [], rate: 0, lines: [], pictures: [] });
    host.append(this.root);
    new ResizeObserver(() => this.place()).observe(host);
  }

  draw(groups) {
    const { groups: kept, left_out } = capped(groups);
    this.groups = kept;
    shown(this.more, left_out > 0);
    text(this.more, left_out > 0 ? `and ${many(left_out, "more circuit")}` : "");
    this.place();
  }

  place() {
    const width = Math.floor(this.host.clientWidth);
    if (width === 0) return;
    const at = plan(width);
    let y = at.top;
    const [lines, pictures] = [[], []];
    const placed = this.groups.map((group) => {
      const head = at.wide ? 0 : 22;
      const height = head + group.circuits.length * ROW;
      const spot = { group, at, y, height, head, lines, pictures };
      y += height + at.gap;
      return spot;
    });
    keyed(this.pools, placed, (spot) => spot.group.pool, (spot) => new PoolPicture(spot));
    Object.assign(this, { lines, pictures });
    const bottom = Math.max(y - at.gap, at.top + 40);
    attr(this.root, "viewBox", `0 0 ${width} ${bottom + 8}`);
    attr(this.root, "width", width);
    attr(this.root, "height", bottom + 8);
    this.placeFeed(at, bottom);
    text(this.desc, "Each line is told in words in the list of members below.");
    this.tick();
  }

  placeFeed(at, bottom) {
    const [from, to] = at.wide ? [at.top - 8, bottom + 2] : [16, bottom - 12];
    attr(this.bus, "d", `M${at.bus} ${from}V${to}`);
    const middle = at.wide ? Math.min((from + to) / 2, 120) : 12;
    const feed = at.wide ? `M0 ${middle}H${at.bus}` : `M${at.bus} 0V16`;
    attr(this.feed, "d", feed);
    attr(this.feedFlow, "d", feed);
    for (const [node, x, y] of at.wide
      ? [[this.ingress, 0, middle - 10], [this.ingressRate, 0, middle + 20]]
      : [[this.ingress, 24, 14], [this.ingressRate, 84, 14]]) {
      attr(node, "x", x);
      attr(node, "y", y);
    }
  }

  flow(rates) {
    this.rate = rates?.requests_per_s ?? 0;
    text(this.ingressRate, `${rate(this.rate)} /s`);
  }

  /** Countdowns, and whether load flows. */
  tick() {
    const now = performance.now();
    const hot = new Set(this.lines.filter((line) => line.tick(now)).map((line) => line.one.pool));
    for (const pool of this.pictures) pool.flow.classList.toggle("on", hot.has(pool.name));
    this.feedFlow.classList.toggle("on", this.rate > 0 || hot.size > 0);
  }
}

class PoolPicture {
  constructor() {
    this.feeder = svg("path", { class: "wire heavy" });
    this.box = svg("rect", { class: "box", rx: 4, height: 40 });
    this.flow = svg("path", { class: "flow" });
    this.label = svg("text", { class: "strong" });
    this.about = svg("text", { class: "soft" });
    this.hint = svg("title");
    this.bar = svg("path", { class: "bar" });
    this.lines = svg("g");
    this.node = svg("g", {}, this.hint, this.feeder, this.flow, this.box, this.bar, this.label, this.about, this.lines);
  }

  update({ group, at, y, height, head, lines, pictures }) {
    pictures.push(this);
    this.name = group.pool;
    const middle = at.wide ? y + height / 2 : y + 8;
    const [left, width] = at.box;
    const feeder = at.wide ? `M${at.bus} ${middle}H${at.bar}` : `M${at.bus} ${middle + 4}H${at.bar}V${middle + 12}`;
    for (const path of [this.feeder, this.flow]) attr(path, "d", feeder);
    attr(this.box, "display", at.wide ? null : "none");
    attr(this.box, "x", left);
    attr(this.box, "y", middle - 20);
    attr(this.box, "width", width);
    const about = [group.strategy && group.strategy.replaceAll("_", " "), group.waiting > 0 && `${group.waiting} waiting`];
    const described = about.filter(Boolean).join(" · ");
    const label = short(group.pool, at.wide ? 15 : 22);
    text(this.label, label);
    text(this.about, at.wide ? short(described, 19) : described);
    text(this.hint, `${group.pool} ${described}`);
    const nameY = at.wide ? middle - (described ? 3 : -4) : middle;
    for (const [node, x, top] of [
      [this.label, at.wide ? left + 8 : at.bar + 10, nameY],
      [this.about, at.wide ? left + 8 : at.bar + 22 + label.length * 7.6, at.wide ? middle + 13 : middle],
    ]) {
      attr(node, "x", x);
      attr(node, "y", top);
    }
    const first = y + head + ROW / 2;
    const last = y + height - ROW / 2;
    attr(this.bar, "d", at.wide ? `M${at.bar} ${Math.min(first, middle) - 7}V${Math.max(last, middle) + 7}` : `M${at.bar} ${y + head - 2}V${last + 7}`);
    const circuits = group.circuits.map((one, index) => ({ one, at, y: first + index * ROW, lines }));
    keyed(this.lines, circuits, (spot) => spot.one.key, (spot) => new Line(spot));
  }
}

/** One circuit: a switch, its member's name, how full it is. */
class Line {
  constructor() {
    this.wire = svg("path", { class: "wire" });
    this.flow = svg("path", { class: "flow" });
    this.symbol = breaker();
    this.cooldown = svg("path", { class: "cooldown" });
    this.bolt = svg("path", { class: "bolt", d: "M3 -8L-3 1H1L-2 8L5 -2H1Z" });
    this.name = svg("text", { class: "strong" });
    this.weight = svg("tspan", { class: "soft" });
    this.label = svg("tspan");
    this.name.append(this.label, this.weight);
    this.state = svg("text", { class: "state" });
    this.room = svg("path", { class: "slots" });
    this.taken = svg("path", { class: "slots taken" });
    this.number = svg("text", { class: "soft figure", "text-anchor": "end" });
    this.hint = svg("title");
    this.node = svg(
      "g", { class: "circuit" },
      this.hint, this.wire, this.flow, this.symbol, this.cooldown, this.bolt, this.name, this.state, this.room, this.taken, this.number,
    );
    Object.assign(this, { picks: null, pickedAt: -Infinity, hot: false });
  }

  update({ one, at, y, lines }) {
    lines.push(this);
    this.one = one;
    if (this.picks !== null && one.picks !== this.picks) this.pickedAt = performance.now();
    this.picks = one.picks;
    attr(this.node, "transform", `translate(0 ${y})`);
    attr(this.node, "data-state", one.state);
    attr(this.node, "data-circuit", one.key);
    attr(this.wire, "d", `M${at.bar} 0H${at.arm}M${at.arm + 30} 0H${at.wire}`);
    attr(this.flow, "d", `M${at.bar} 0H${at.wire}`);
    attr(this.symbol, "transform", `translate(${at.arm} 0)`);
    attr(this.cooldown, "d", `M${at.arm} 10H${at.arm + 30}`);
    attr(this.bolt, "display", one.faults.length > 0 ? null : "none");
    attr(this.bolt, "transform", `translate(${(at.arm + 30 + at.wire) / 2 + 1} 0)`);
    const room = Math.floor((at.slots[0] - 10 - at.name) / 7.4) - (one.weight > 1 ? 4 : 0);
    text(this.label, short(one.model, room));
    text(this.weight, one.weight === null || one.weight === 1 ? "" : ` ×${one.weight}`);
    text(this.hint, one.model);
    attr(this.name, "x", at.name);
    attr(this.name, "y", -3);
    attr(this.state, "x", at.name);
    attr(this.state, "y", 13);
    this.slots(one, at);
  }

  slots({ busy, slots }, at) {
    const [left, width] = at.slots;
    const part = slots > 0 ? Math.min(1, busy / slots) : 0;
    const piece = width / Math.max(1, slots);
    attr(this.room, "d", `M${left} 0h${width}`);
    attr(this.taken, "d", `M${left} 0h${Math.max(0, width * part)}`);
    attr(this.taken, "display", part > 0 ? null : "none");
    const dash = piece >= 4 ? `${piece - 1.5} 1.5` : null; // one dash for each slot, where there is room for it
    for (const path of [this.room, this.taken]) attr(path, "stroke-dasharray", dash);
    attr(this.number, "x", at.width);
    attr(this.number, "y", 4);
    text(this.number, `${busy}/${slots}`);
  }

  /** Gives whether load flows. */
  tick(now) {
    const recent = now - this.pickedAt < FLOWS_MS;
    this.hot = recent || (this.one.busy > 0 && (this.hot || this.one.picks === null));
    this.flow.classList.toggle("on", this.hot && this.one.state !== "open");
    text(this.state, told(this.one, now));
    const left = this.one.state === "open" ? this.one.left(now) : 0;
    this.cooldown.style.strokeDasharray = `${(30 * left).toFixed(2)} 30`;
    attr(this.cooldown, "display", left > 0 ? null : "none");
    return this.hot;
  }
}

/** The symbol of a breaker. How its arm stands says the state; the colour, and a text beside it, say it again. */
export function breaker() {
  return svg(
    "g", { class: "breaker" },
    svg("line", { class: "arm", x1: 0, y1: 0, x2: 30, y2: 0 }),
    svg("circle", { class: "contact", r: 3.5 }),
    svg("circle", { class: "contact", cx: 30, r: 3.5 }),
  );
}

function short(name, letters) {
  const most = Math.max(4, letters);
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
}
