// A circuit is a pool's line to one of its members, with a breaker of its own. What is drawn, listed and announced.

import { STATES, secs, words } from "./format.js";

/** Circuits that are drawn. */
export const CIRCUITS_MAX = 30;

export const DIRECT = "direct";

/** Every circuit, pool by pool: [{pool, strategy, waiting, circuits: [{key, pool, model, cell, availability, weight,
 *  excluded, picks, busy, slots, faults}]}]. Direct routes stand last: of a member that is in no pool, and of others
 *  once their own breaker has something to say. */
export function groups(state, store) {
  const members = new Map(state.members.map((member) => [member.model, member]));
  const pooled = new Set();
  const all = state.pools.map((pool) => ({
    pool: pool.name,
    strategy: pool.strategy,
    waiting: pool.waiting,
    circuits: pool.members.map((line) => {
      pooled.add(line.model);
      return circuit(pool.name, members.get(line.model), line, store);
    }),
  }));
  const direct = state.members
    .filter((member) => !pooled.has(member.model) || (member.cell !== null && member.cell.state !== "closed"))
    .map((member) => circuit(DIRECT, member, { ...member, weight: null, picks: null, excluded: false }, store));
  if (direct.length > 0) all.push({ pool: DIRECT, strategy: null, waiting: 0, circuits: direct });
  return all;
}

function circuit(pool, member, line, store) {
  const key = `${pool === DIRECT ? "" : "pool "}${pool} → ${line.model}`;
  const cell = line.cell;
  return {
    key,
    left: (now) => store.left(key, now),
    pool,
    model: line.model,
    weight: line.weight,
    excluded: line.excluded,
    picks: line.picks,
    availability: line.availability,
    state: cell === null ? "dead" : cell.state,
    probing: cell?.probe_in_flight ?? false,
    ends: store.ends(key, cell, cell?.state === "open" ? cell.cooldown_remaining_s : 0),
    busy: member?.busy ?? 0,
    slots: member?.slots ?? 0,
    faults: member?.faults ?? [],
  };
}

/** Those that fit: {groups, left_out}. Whoever is not well has a place; the rest is shared out among the pools, each
 *  of which shows its first ones. Load decides nothing here, or the picture would never rest. */
export function capped(all, max = CIRCUITS_MAX) {
  const number = all.reduce((sum, group) => sum + group.circuits.length, 0);
  if (number <= max) return { groups: all, left_out: 0 };
  const rank = new Map();
  for (const group of all) {
    group.circuits.forEach((one, index) => rank.set(one, one.state === "closed" && one.faults.length === 0 ? index : -1));
  }
  const chosen = new Set([...rank.keys()].sort((a, b) => rank.get(a) - rank.get(b)).slice(0, max));
  const kept = all
    .map((group) => ({ ...group, circuits: group.circuits.filter((one) => chosen.has(one)) }))
    .filter((group) => group.circuits.length > 0);
  return { groups: kept, left_out: number - max };
}

/** The state in words, and what is left of the cooldown. */
export function told(one, now = performance.now()) {
  if (one.state === "dead") return "stopped";
  if (one.state === "open") {
    const left = one.ends === null ? 0 : (one.ends - now) / 1000;
    return left > 0 ? `open · ${secs(left)}` : "open · a probe is due";
  }
  if (one.state === "half_open") return one.probing ? "half-open · probing" : "half-open";
  const more = one.excluded ? "excluded" : one.availability === "available" ? "" : words(one.availability);
  return more ? `${STATES.closed} · ${more}` : STATES.closed;
}
