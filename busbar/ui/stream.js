// Server-sent events by fetch: EventSource cannot show a token.

import { at, authorization, said } from "./api.js";
import { wanted } from "./token.js";

const RETRY_MS = 500;
const RETRY_MS_MAX = 8000;
const SILENCE_MS = 40000; // the gateway says something every 15 s

/** Follows `path` for good. `onEvent(type, data)` gets what comes; `onState(state, why)` that it is "live",
 *  "reconnecting", "locked" (no token was given; it goes on when `unlock` is called) or "refused". */
export class Stream {
  constructor(path, onEvent, onState) {
    Object.assign(this, { path, onEvent, onState, failures: 0, unlock: () => {} });
  }

  async run() {
    for (;;) {
      const again = await this.follow();
      if (again === "locked" && !(await wanted("stats"))) {
        this.onState("locked", "a token is wanted");
        await new Promise((done) => (this.unlock = done));
      } else if (again === "lost") {
        const pause = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.failures++);
        await new Promise((done) => setTimeout(done, pause * (0.75 + Math.random() / 2)));
      }
    }
  }

  /** One connection, to its end: "lost" or "locked". */
  async follow() {
    const abort = new AbortController();
    const silence = { timer: 0 };
    const heard = () => {
      clearTimeout(silence.timer);
      silence.timer = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    heard();
    try {
      const options = { headers: authorization("stats"), cache: "no-store", signal: abort.signal };
      const response = await fetch(at(this.path), options);
      if (response.status === 401) return "locked";
      if (!response.ok) {
        this.onState("refused", await said(response));
        return "lost";
      }
      await this.read(response.body, heard);
    } catch (error) {
      if (!(error instanceof TypeError || error.name === "AbortError")) throw error; // a mistake of ours, not the net's
    } finally {
      clearTimeout(silence.timer);
      abort.abort();
    }
    this.onState("reconnecting", "the connection was lost");
    return "lost";
  }

  async read(body, heard) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) this.block(block);
    }
  }

  block(block) {
    let type = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) type = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5));
    }
    if (data.length === 0) return;
    this.onEvent(type, JSON.parse(data.join("\n")));
    this.failures = 0;
    this.onState("live", "");
  }
}
