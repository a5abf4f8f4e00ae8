// What each key has spent and used, against its limits.

import { attr, byId, el, keyed, shown, text } from "./dom.js";
import { count, dollars, many } from "./format.js";

const NEAR = 0.8;

export class Keys {
  constructor() {
    [this.section, this.list, this.summary] = [byId("keys-section"), byId("keys"), byId("keys-summary")];
  }

  draw({ governance }) {
    shown(this.section, governance !== null);
    if (governance === null) return;
    const keys = governance.keys;
    text(this.summary, governance.ready ? (keys.length === 50 ? "the 50 busiest" : many(keys.length, "key")) : "not read yet");
    keyed(this.list, keys, (key) => key.id, () => new Row());
  }
}

class Row {
  constructor() {
    [this.name, this.note] = [el("strong"), el("span", { class: "soft" })];
    this.bars = [new Bar("spent"), new Bar("requests/min"), new Bar("tokens/min")];
    this.node = el("li", { class: "key" }, el("div", { class: "who" }, this.name, this.note), ...this.bars.map((bar) => bar.node));
  }

  update(key) {
    attr(this.node, "data-key", key.id);
    text(this.name, key.name || key.id);
    text(this.note, key.enabled ? key.id : `${key.id} · disabled`);
    const [spent, requests, tokens] = this.bars;
    const reserved = key.reserved_cents > 0 ? ` + ${dollars(key.reserved_cents)} reserved` : "";
    const period = key.period && key.limit_cents !== null ? ` · ${key.period}` : "";
    spent.update(key.spent_cents, key.limit_cents, dollars, reserved + period);
    requests.update(key.rpm_used, key.rpm_limit, count, "");
    tokens.update(key.tpm_used, key.tpm_limit, count, "");
    shown(requests.node, key.rpm_limit !== null);
    shown(tokens.node, key.tpm_limit !== null);
  }
}

class Bar {
  constructor(name) {
    [this.fill, this.value] = [el("span", { class: "fill" }), el("span", { class: "figure" })];
    this.meter = el("span", { class: "meter", "aria-hidden": "true" }, this.fill);
    this.node = el("div", { class: "bar-row" }, el("span", { class: "soft" }, name), this.meter, this.value);
  }

  update(used, limit, show, more) {
    const part = limit > 0 ? (used ?? 0) / limit : limit === 0 ? 1 : 0;
    this.fill.style.width = `${Math.min(100, part * 100)}%`;
    attr(this.meter, "data-level", part >= 1 ? "over" : part >= NEAR ? "near" : null);
    this.meter.classList.toggle("without", limit === null);
    text(this.value, `${show(used ?? 0)}${limit === null ? "" : ` of ${show(limit)}`}${more}`);
  }
}
