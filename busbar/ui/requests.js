// The latest requests, and why each went where it went.

import { call } from "./api.js";
import { attr, byId, el, keyed, shown, text } from "./dom.js";
import { clock, dollars, many, ms, words } from "./format.js";

let serial = 0;

/** While a trace is open the list holds still: what one reads does not move away, or drop off its end. */
export class Requests {
  constructor() {
    [this.list, this.none, this.note] = [byId("requests"), byId("requests-none"), byId("requests-note")];
    Object.assign(this, { latest: [], listed: [], open: new Set() });
  }

  draw({ requests }) {
    this.latest = requests;
    if (this.open.size === 0) this.show();
    this.tell();
  }

  toggled(row, open) {
    if (open) this.open.add(row);
    else this.open.delete(row);
    if (this.open.size === 0) this.show();
    this.tell();
  }

  show() {
    this.listed = this.latest;
    shown(this.none, this.listed.length === 0);
    keyed(this.list, this.listed, (request) => request.request_id, (request) => new Row(request, this));
  }

  tell() {
    const at = this.latest.findIndex((request) => request.request_id === this.listed[0]?.request_id);
    const newer = at < 0 ? `over ${this.latest.length}` : String(at);
    text(this.note, this.open.size === 0 ? "open one for its decisions" : `held while one is open · ${newer} newer`);
  }
}

/** A request that is over never changes. */
class Row {
  constructor(request, list) {
    Object.assign(this, { request, list, asked: false });
    const id = `trace-${++serial}`;
    this.button = el(
      "button", { type: "button", class: "request", "aria-expanded": "false", "aria-controls": id },
      el("span", { class: "figure soft" }, clock(request.time)),
      el("span", { class: "way" }, way(request)),
      el("span", { class: "outcome", "data-outcome": request.outcome }, `${words(request.outcome)} ${request.status}`),
      el("span", { class: "soft figure details" }, details(request)),
    );
    this.trace = el("div", { class: "trace", id, hidden: true });
    this.node = el("li", { "data-request": request.request_id }, this.button, this.trace);
    this.button.addEventListener("click", () => this.toggle());
  }

  update() {}

  toggle() {
    const open = this.trace.hidden;
    shown(this.trace, open);
    attr(this.button, "aria-expanded", open ? "true" : "false");
    this.list.toggled(this, open);
    if (open && !this.asked) this.ask();
  }

  async ask() {
    this.asked = true;
    text(this.trace, "…");
    try {
      const trace = await call("GET", `stats/requests/${encodeURIComponent(this.request.request_id)}`);
      this.trace.replaceChildren(...told(trace));
    } catch (refused) {
      this.asked = false;
      text(this.trace, refused.message);
    }
  }
}

const way = ({ pool, member }) => (member === null || member === pool ? pool : `${pool} → ${member}`);

function details({ ingress_protocol, latency_ms, ttft_ms, failovers, attempts }) {
  const parts = [ingress_protocol, ms(latency_ms)];
  if (ttft_ms !== null) parts.push(`first ${ms(ttft_ms)}`);
  if (attempts > 1) parts.push(failovers > 0 ? many(failovers, "failover") : many(attempts, "attempt"));
  return parts.join(" · ");
}

function told(trace) {
  const facts = [
    ["request", trace.request_id],
    ["asked", `${trace.operation}${trace.stream ? ", streamed" : ""} in ${trace.ingress_protocol}`],
    trace.translated_to && ["translated to", trace.translated_to],
    trace.session_affinity && ["affinity", "followed its session"],
    trace.trace_id && ["trace", trace.trace_id],
    trace.key_id && ["key", trace.key_id],
    trace.cost_nanodollars > 0 && ["cost", dollars(trace.cost_nanodollars / 1e7)],
    trace.dropped_fields.length > 0 && ["dropped", trace.dropped_fields.join(", ")],
  ].filter(Boolean);
  return [
    el("ol", { class: "steps" }, ...trace.steps.map(step)),
    trace.steps.length === 0 ? el("p", { class: "soft" }, "It was refused before any pool was asked.") : null,
    el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
  ].filter((node) => node !== null);
}

function step({ pool, at_ms, waited_ms, chosen, chosen_by, probe, not_chosen, attempt }) {
  const choice = chosen === null
    ? [el("strong", {}, pool), " had nobody to give"]
    : [el("strong", {}, pool), " chose ", el("strong", {}, chosen), ` by ${words(chosen_by)}${probe ? ", as a probe" : ""}`];
  const others = Object.entries(not_chosen).map(([member, why]) => `${member}: ${words(why)}`);
  return el(
    "li", {},
    el("p", {}, ...choice, el("span", { class: "soft figure" }, ` at ${ms(at_ms)}${waited_ms >= 1 ? `, after waiting ${ms(waited_ms)}` : ""}`)),
    attempt === null ? null : el("p", { class: "result", "data-outcome": attempt.result }, result(attempt)),
    others.length === 0 ? null : el("p", { class: "soft" }, `not chosen: ${others.join(", ")}`),
  );
}

function result({ result, status, code, retry_after_s, first_byte_ms, latency_ms }) {
  const parts = [`${words(result)} after ${ms(latency_ms)}`];
  if (first_byte_ms !== null) parts.push(`first byte ${ms(first_byte_ms)}`);
  if (status !== null) parts.push(`status ${status}`);
  if (code !== null && code !== String(status)) parts.push(code);
  if (retry_after_s !== null) parts.push(`retry after ${retry_after_s} s`);
  return parts.join(" · ");
}
