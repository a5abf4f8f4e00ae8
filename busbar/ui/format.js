// Numbers and words as people read them.

const counts = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en");

/** 1234 → "1.2K". */
export const count = (number) => (number < 10000 ? exact.format(number) : counts.format(number));

/** "84 ms", "1.24 s"; an en dash where nothing is known. */
export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`;
}

/** Per second. */
export const rate = (value) => (value === null ? "–" : value > 0 && value < 10 ? value.toFixed(1) : count(Math.round(value)));

/** Whole seconds: "9 s", "2 min 5 s", "3 h 4 min". */
export function secs(value) {
  const whole = Math.max(0, Math.ceil(value));
  if (whole < 60) return `${whole} s`;
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}

/** Money, from cents: "$12.50", and what is less than ten cents to a hundredth of one. */
export function dollars(cents) {
  const value = cents / 100;
  if (value === 0 || value >= 0.1 || Number.isInteger(cents)) return `$${value.toFixed(2)}`;
  return value < 0.0001 ? "< $0.0001" : `$${value.toFixed(4)}`;
}

/** Time of day, from Unix seconds. */
export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB");

/** A word of the gateway's as prose: "breaker_open" → "breaker open". */
export const words = (name) => (name ?? "").replaceAll("_", " ");

/** "1 pool", "2 pools". */
export const many = (number, noun) => `${exact.format(number)} ${noun}${number === 1 ? "" : "s"}`;

export const STATES = { closed: "closed", half_open: "half-open", open: "open" };
