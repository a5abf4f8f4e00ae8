// The last minute in four lines.

import { attr, el, svg, text } from "./dom.js";
import { ms, rate } from "./format.js";

const TILES = [
  { title: "Requests", lines: ["requests_per_s"], show: (now) => `${rate(now.requests_per_s)} /s` },
  { title: "Errors", lines: ["errors_per_s"], alarm: true, show: (now) => `${rate(now.errors_per_s)} /s` },
  { title: "Latency", lines: ["p50_ms", "p95_ms"], show: (now) => ms(now.p50_ms), more: (now) => `p95 ${ms(now.p95_ms)}` },
  { title: "First token", lines: ["ttft_p50_ms"], show: (now) => ms(now.ttft_p50_ms), more: () => "median" },
];

const [WIDTH, HEIGHT] = [120, 30];

export class Rates {
  constructor(host) {
    this.tiles = TILES.map((tile) => {
      const [value, more] = [el("span", { class: "value" }), el("span", { class: "soft" })];
      const paths = tile.lines.map((_, index) => svg("path", { class: `spark${index > 0 ? " second" : ""}` }));
      const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, ...paths);
      host.append(el("div", { class: tile.alarm ? "tile errors" : "tile" }, el("h2", {}, tile.title), el("p", {}, value, more), picture));
      return { ...tile, value, extra: more, paths, picture };
    });
  }

  draw({ rates }) {
    if (rates === null) return;
    for (const { title, lines, alarm, show, more, value, extra, paths, picture } of this.tiles) {
      text(value, show(rates));
      text(extra, more ? more(rates) : "");
      if (alarm) value.classList.toggle("alarm", rates.errors_per_s > 0);
      const highest = Math.max(1e-9, ...lines.flatMap((line) => rates.history[line].map((point) => point ?? 0)));
      lines.forEach((line, index) => attr(paths[index], "d", curve(rates.history[line], highest)));
      attr(picture, "aria-label", `${title} over the last minute: now ${show(rates)}, highest ${told(title, highest)}`);
    }
  }
}

const told = (title, highest) => (title === "Requests" || title === "Errors" ? rate(highest < 1e-6 ? 0 : highest) : ms(highest));

/** A line through the points; it breaks where nothing is known. A point alone is a dot. */
function curve(points, highest) {
  const step = WIDTH / Math.max(1, points.length - 1);
  let path = "";
  let down = false;
  points.forEach((point, index) => {
    if (point === null) {
      down = false;
      return;
    }
    const where = `${(index * step).toFixed(1)} ${(HEIGHT - 2 - (point / highest) * (HEIGHT - 5)).toFixed(1)}`;
    path += down ? `L${where}` : `M${where}h.01`;
    down = true;
  });
  return path;
}
