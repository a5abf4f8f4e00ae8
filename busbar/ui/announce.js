// Says breakers' changes to those who do not see the picture: one sentence for what happened within a moment.

import { STATES } from "./format.js";
import { text } from "./dom.js";

const MOMENT_MS = 1500;
const NAMED_MAX = 3;

export class Announcer {
  constructor(node) {
    Object.assign(this, { node, before: null, news: new Map(), timer: 0 });
  }

  /** `circuits`: all of them. The first time is not news. */
  hear(circuits) {
    const now = new Map(circuits.map((one) => [one.key, one.state]));
    for (const { key, pool, model, state } of this.before === null ? [] : circuits) {
      const before = this.before.get(key);
      if (before !== undefined && before !== state) this.news.set(key, `${model} in ${pool} is ${STATES[state] ?? state}`);
    }
    this.before = now;
    if (this.news.size > 0) this.timer ||= setTimeout(() => this.speak(), MOMENT_MS);
  }

  say(message) {
    text(this.node, message);
  }

  speak() {
    const news = [...this.news.values()];
    this.news.clear();
    this.timer = 0;
    const rest = news.length - NAMED_MAX;
    this.say(news.slice(0, NAMED_MAX).join(". ") + (rest > 0 ? `. And ${rest} more breakers changed.` : "."));
  }
}
