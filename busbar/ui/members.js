// The members as a list: the picture in words, their numbers, and the buttons that break them.

import { DIRECT, told } from "./circuits.js";
import { breaker } from "./diagram.js";
import { attr, byId, el, keyed, shown, svg, text } from "./dom.js";
import { FaultButtons } from "./faults.js";
import { count, many } from "./format.js";

const MEMBERS_MAX = 40;
const FILTER_FROM = 12;
const WORST = ["open", "dead", "half_open", "closed"];

export class Members {
  constructor(store, say) {
    Object.assign(this, { store, say, faults: false, rows: new Map(), groups: [], state: null });
    this.list = byId("members");
    this.more = byId("members-more");
    this.filter = byId("members-filter");
    this.filter.addEventListener("input", () => this.draw(this.state, this.groups));
  }

  /** `faults`: whether there are buttons. */
  permit(faults) {
    this.faults = faults;
    this.list.classList.toggle("without-faults", !faults);
  }

  draw(state, groups) {
    Object.assign(this, { state, groups });
    if (state === null) return;
    const circuits = new Map(state.members.map((member) => [member.model, []]));
    for (const one of groups.flatMap((group) => group.circuits)) circuits.get(one.model)?.push(one);
    const entries = state.members.map((member) => ({ member, circuits: circuits.get(member.model) }));
    shown(this.filter, entries.length > FILTER_FROM);
    const asked = this.filter.value.trim().toLowerCase();
    const fitting = entries.filter(({ member }) => `${member.model} ${member.provider} ${member.protocol}`.toLowerCase().includes(asked));
    const kept = this.first(fitting);
    this.rows.clear();
    keyed(this.list, kept, ({ member }) => member.model, ({ member }) => new Row(member.model, this));
    const rest = fitting.length - kept.length;
    shown(this.more, rest > 0 || (asked !== "" && kept.length === 0));
    text(this.more, rest > 0 ? `and ${many(rest, "more member")}; the filter finds them` : "No member is called so.");
  }

  /** Those that fit on the page: first what is not well, or broken on purpose; then in configured order. */
  first(entries) {
    if (entries.length <= MEMBERS_MAX) return entries;
    const calm = ({ member, circuits }) => member.faults.length === 0 && circuits.every((one) => one.state === "closed");
    const chosen = new Set([...entries].sort((a, b) => calm(a) - calm(b)).slice(0, MEMBERS_MAX));
    return entries.filter((entry) => chosen.has(entry));
  }

  tick() {
    const now = performance.now();
    for (const row of this.rows.values()) row.tick(now);
  }
}

class Row {
  constructor(model, list) {
    Object.assign(this, { model, list });
    this.about = el("span", { class: "soft" });
    this.symbol = svg("svg", { class: "symbol", viewBox: "-5 -8 40 16", "aria-hidden": "true" }, breaker());
    this.told = el("span", { class: "told" });
    this.fill = el("span", { class: "fill" });
    this.load = el("span", { class: "figure" });
    this.numbers = el("span", { class: "soft figure" });
    this.buttons = new FaultButtons(model, list.say);
    this.node = el(
      "li", { class: "member", "data-member": model },
      el("div", { class: "who" }, el("strong", {}, model), this.about),
      el("div", { class: "state" }, this.symbol, this.told),
      el("div", { class: "load" }, el("span", { class: "meter", "aria-hidden": "true" }, this.fill), this.load),
      el("div", { class: "numbers" }, this.numbers),
      this.buttons.node,
    );
  }

  update({ member, circuits }) {
    this.list.rows.set(this.model, this);
    Object.assign(this, { member, circuits });
    text(this.about, member.provider === null ? "" : `${member.provider} · ${member.protocol}`);
    const worst = WORST.find((state) => circuits.some((one) => one.state === state)) ?? "closed";
    attr(this.node, "data-state", worst);
    attr(this.symbol, "data-state", worst);
    this.fill.style.width = `${member.slots > 0 ? Math.min(100, (100 * member.busy) / member.slots) : 0}%`;
    text(this.load, `${member.busy} of ${many(member.slots, "slot")}`);
    text(this.numbers, `${count(member.ok)} ok · ${count(member.err)} failed · ${count(member.client_fault)} caller’s`);
    const fault = member.faults[0] ?? null;
    this.buttons.update(fault, this.list.store.ends(`fault ${member.model}`, fault, fault?.remaining_s ?? 0));
    this.tick(performance.now());
  }

  tick(now) {
    const unwell = this.circuits.filter((one) => one.state !== "closed");
    const named = (one) => `${one.pool === DIRECT ? "direct" : one.pool}: ${told(one, now)}`;
    const words = unwell.length > 0 ? unwell.map(named).join(", ") : this.circuits.length > 0 ? told(this.circuits[0], now) : "closed";
    text(this.told, words);
    this.buttons.tick(now);
  }
}
