// Breaking things on purpose: a member that refuses, fails, freezes or cuts its streams for a minute.

import { call } from "./api.js";
import { attr, el, shown, text } from "./dom.js";
import { secs } from "./format.js";

const SECS = 60;
const KINDS = [
  { kind: "429", label: "429", does: (model) => `429: ${model} refuses every request for ${SECS} seconds` },
  { kind: "500", label: "500", does: (model) => `500: ${model} fails every request for ${SECS} seconds` },
  { kind: "freeze", label: "Freeze", does: (model) => `Freeze: ${model} answers nothing for ${SECS} seconds` },
  { kind: "cut", label: "Cut", does: (model) => `Cut: ${model} breaks off its answers for ${SECS} seconds` },
];
const NAMES = { 429: "answers 429", 500: "answers 500", freeze: "frozen", cut: "cuts its answers" };

/** Whether faults can be injected here at all: "yes", or why not. */
export async function available() {
  try {
    await call("GET", "admin/faults", { realm: "admin", quiet: true });
    return "yes";
  } catch (refused) {
    if (refused.status === 401) return "yes"; // with a token, which the first click asks for
    if (refused.status !== 404) return refused.message;
    return "Faults can be injected here once governance.admin_token is set.";
  }
}

/** The buttons of one member. `say(message)` tells how it went. */
export class FaultButtons {
  constructor(model, say) {
    Object.assign(this, { model, say, fault: null, ends: null, busy: false });
    this.buttons = KINDS.map(({ kind, label, does }) =>
      el("button", { type: "button", "data-fault": kind, "aria-label": does(model), "aria-pressed": "false" }, label),
    );
    this.buttons.forEach((button, index) => button.addEventListener("click", () => this.inject(KINDS[index].kind)));
    this.lift = el("button", { type: "button", class: "lift", "aria-label": `Lift the fault from ${model}` }, "Lift");
    this.lift.addEventListener("click", () => this.liftIt());
    this.running = el("span", { class: "running" });
    this.node = el("div", { class: "faults", role: "group", "aria-label": `Faults of ${model}` }, ...this.buttons, this.running, this.lift);
  }

  update(fault, ends) {
    if (this.fault !== null && fault === null && document.activeElement === this.lift) this.buttons[0].focus();
    Object.assign(this, { fault, ends });
    KINDS.forEach(({ kind }, index) => attr(this.buttons[index], "aria-pressed", fault?.kind === kind ? "true" : "false"));
    shown(this.lift, fault !== null);
    this.tick(performance.now());
  }

  tick(now) {
    const left = this.ends === null ? "" : ` · ${secs((this.ends - now) / 1000)}`;
    text(this.running, this.fault === null ? "" : `${NAMES[this.fault.kind] ?? this.fault.kind}${left}`);
  }

  inject(kind) {
    const body = { member: this.model, kind, secs: SECS };
    return this.ask(() => call("POST", "admin/faults", { body, realm: "admin" }), `${this.model} ${NAMES[kind]} for ${SECS} seconds.`);
  }

  liftIt() {
    const path = `admin/faults/${encodeURIComponent(this.model)}`;
    return this.ask(() => call("DELETE", path, { realm: "admin" }), `The fault of ${this.model} is lifted.`);
  }

  async ask(question, done) {
    if (this.busy) return;
    this.busy = true;
    attr(this.node, "aria-busy", "true");
    try {
      await question();
      this.say(done);
    } catch (refused) {
      this.say(refused.message);
    } finally {
      this.busy = false;
      attr(this.node, "aria-busy", null);
    }
  }
}
