// The live page: a stream of what changes, and the parts that draw it.

import { Actors } from "./actors.js";
import { Announcer } from "./announce.js";
import { groups } from "./circuits.js";
import { Diagram } from "./diagram.js";
import { attr, byId, shown, text } from "./dom.js";
import { available } from "./faults.js";
import { many } from "./format.js";
import { Keys } from "./keys.js";
import { Members } from "./members.js";
import { Rates } from "./rates.js";
import { Requests } from "./requests.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";

const TICK_MS = 250;
const NOTICE_MS = 6000;

const store = new Store();
const diagram = new Diagram(byId("diagram"), byId("diagram-more"));
const announcer = new Announcer(byId("announcer"));
const members = new Members(store, notice);
const [rates, requests, keys, actors] = [new Rates(byId("rates")), new Requests(), new Keys(), new Actors()];

store.on(["pools", "members"], (state) => {
  const all = groups(state, store);
  const circuits = all.flatMap((group) => group.circuits);
  diagram.draw(all);
  members.draw(state, all);
  announcer.hear(circuits);
  text(byId("circuits-summary"), summary(circuits));
  const open = circuits.filter((one) => one.state === "open").length;
  document.title = open > 0 ? `Busbar · ${open} open` : "Busbar";
});
store.on(["rates"], (state) => {
  rates.draw(state);
  diagram.flow(state.rates);
});
store.on(["requests"], (state) => requests.draw(state));
store.on(["gateway"], (state) => text(byId("about"), state.gateway.version));
store.on(["governance"], (state) => keys.draw(state));
store.on(["actors"], (state) => actors.draw(state));
store.on(["messages"], (state) => actors.drawMessages(state));

function summary(circuits) {
  const number = (state) => circuits.filter((one) => one.state === state).length;
  const unwell = [[number("open"), "open"], [number("half_open"), "half-open"], [number("dead"), "stopped"]];
  const told = unwell.filter(([some]) => some > 0).map(([some, state]) => `${some} ${state}`);
  return [many(circuits.length, "circuit"), ...(told.length > 0 ? told : ["all closed"])].join(" · ");
}

// --- the connection

let asked = false;

const stream = new Stream(
  "stats/stream",
  (type, data) => store.apply(type, data),
  (state, why) => {
    const draining = state === "live" && store.state.gateway?.draining;
    attr(byId("connection"), "data-state", draining ? "draining" : state);
    text(byId("connection"), draining ? "draining" : state === "refused" ? why : state);
    attr(document.body, "data-stale", state === "live" ? null : "true");
    shown(byId("unlock"), state === "locked");
    if (state === "live" && !asked) faults();
  },
);

byId("unlock").addEventListener("click", () => stream.unlock());

async function faults() {
  asked = true;
  const answer = await available();
  members.permit(answer === "yes");
  text(byId("faults-note"), answer === "yes" ? "A fault lasts a minute, or until it is lifted." : answer);
}

// --- time

let noticed = 0;

function notice(message) {
  clearTimeout(noticed);
  text(byId("notice"), message);
  announcer.say(message);
  shown(byId("notice"), true);
  noticed = setTimeout(() => shown(byId("notice"), false), NOTICE_MS);
}

setInterval(() => {
  diagram.tick();
  members.tick();
}, TICK_MS);

stream.run();
