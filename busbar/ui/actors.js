// The tree of actors, and what they said to each other last.

import { attr, byId, el, keyed, shown, text } from "./dom.js";
import { count, many } from "./format.js";

const SIBLINGS_MAX = 24;
const [MAILBOX_NEAR, MAILBOX_OVER] = [10, 100]; // messages that wait: worth a look, and worth a worry

export class Actors {
  constructor() {
    this.tree = byId("actors");
    this.summary = byId("actors-summary");
    this.messages = byId("messages");
    this.box = byId("messages-box");
    this.box.addEventListener("toggle", () => this.state && this.drawMessages(this.state));
  }

  draw({ actors }) {
    const names = new Set(actors.map((actor) => actor.name));
    const below = new Map();
    for (const actor of actors) {
      const parent = names.has(actor.parent) ? actor.parent : null;
      if (!below.has(parent)) below.set(parent, []);
      below.get(parent).push(actor);
    }
    const restarts = actors.reduce((sum, actor) => sum + actor.restarts, 0);
    const dropped = actors.reduce((sum, actor) => sum + actor.dropped, 0);
    const waiting = actors.reduce((sum, actor) => sum + actor.mailbox, 0);
    const parts = [many(actors.length, "actor"), `${count(waiting)} waiting`, many(restarts, "restart")];
    text(this.summary, [...parts, ...(dropped > 0 ? [`${count(dropped)} dropped`] : [])].join(" · "));
    branch(this.tree, below, null);
  }

  drawMessages(state) {
    this.state = state;
    if (!this.box.open) return;
    const latest = state.messages[0]?.at ?? 0;
    const lines = state.messages.map((message, index) => ({ ...message, index, ago: latest - message.at }));
    keyed(this.messages, lines, (line) => line.index, () => new Message());
  }
}

/** Draws those below `parent`. Of many siblings only the most interesting ones, in their order. */
function branch(list, below, parent) {
  const all = below.get(parent) ?? [];
  const kept = all.length <= SIBLINGS_MAX ? all : interesting(all);
  const rest = all.length - kept.length;
  const items = kept.map((actor) => ({ actor, below, key: actor.name }));
  if (rest > 0) items.push({ actor: null, rest, key: "" });
  keyed(list, items, (item) => item.key, (item) => (item.actor === null ? new Rest() : new Actor()));
}

/** First those with something to tell; then in order of start. */
function interesting(actors) {
  const calm = (actor) => actor.alive && actor.restarts + actor.dropped === 0 && actor.mailbox <= MAILBOX_NEAR;
  const chosen = new Set([...actors].sort((a, b) => calm(a) - calm(b)).slice(0, SIBLINGS_MAX));
  return actors.filter((actor) => chosen.has(actor));
}

class Actor {
  constructor() {
    this.name = el("span", { class: "name" });
    [this.mailbox, this.processed] = [el("span"), el("span")];
    this.note = el("span", { class: "note" });
    this.children = el("ul");
    this.node = el("li", {}, el("div", { class: "actor" }, el("span", { class: "label" }, this.name, this.note), figure(this.mailbox, "in the mailbox"), figure(this.processed, "processed")), this.children);
  }

  update({ actor, below }) {
    text(this.name, actor.name);
    attr(this.name, "title", actor.kind);
    text(this.mailbox, count(actor.mailbox));
    attr(this.mailbox, "data-level", actor.mailbox > MAILBOX_OVER ? "over" : actor.mailbox > MAILBOX_NEAR ? "near" : null);
    text(this.processed, count(actor.processed));
    const notes = [];
    if (!actor.alive) notes.push("stopped");
    if (actor.restarts > 0) notes.push(many(actor.restarts, "restart"));
    if (actor.dropped > 0) notes.push(`${count(actor.dropped)} dropped`);
    text(this.note, notes.join(" · "));
    shown(this.children, below.has(actor.name));
    branch(this.children, below, actor.name);
  }
}

/** A column's number; who does not see the column's head is told its name. */
const figure = (number, name) => el("span", { class: "figure" }, number, el("span", { class: "unseen" }, ` ${name}`));

class Rest {
  constructor() {
    this.node = el("li", { class: "soft more" });
  }

  update({ rest }) {
    text(this.node, `and ${count(rest)} more`);
  }
}

class Message {
  constructor() {
    [this.ago, this.type, this.actor] = [el("span", { class: "soft figure" }), el("strong"), el("span")];
    this.node = el("li", {}, this.ago, this.type, el("span", { class: "soft" }, "→"), this.actor);
  }

  update({ ago, type, actor }) {
    text(this.ago, ago === 0 ? "0" : `−${ago < 1 ? `${(ago * 1000).toFixed(ago < 0.01 ? 1 : 0)} ms` : `${ago.toFixed(1)} s`}`);
    text(this.type, type);
    text(this.actor, actor);
  }
}
