// A donut chart; a share with an `href` is a link.

import { count, draw } from "./page.js";

/** The radius whose circumference is 100, so that dash lengths are percentages. */
const RADIUS = 50 / Math.PI;

/** Draws shares of a whole: each has a name, a number of keys and, optionally, an `href`. */
export function donut(shares, all) {
  const drawing = draw("svg", { viewBox: "0 0 42 42", class: "donut", role: "group", "aria-label": `${count(all)} keys by namespace` });
  let before = 0;
  shares.forEach(({ name, keys, href }, place) => {
    const share = (keys / all) * 100;
    const percent = share >= 1 ? Math.round(share) : share.toFixed(1);
    const arc = draw("circle", {
      cx: 21, cy: 21, r: RADIUS, fill: "none", "stroke-width": 6, class: `key${place % 6}`,
      "stroke-dasharray": `${share} ${100 - share}`, "stroke-dashoffset": 25 - before,
    }, draw("title", {}, `${name}: ${count(keys)} keys, ${percent} %`));
    drawing.append(href === undefined ? arc : draw("a", { href, "aria-label": `${name}, ${percent} %` }, arc));
    before += share;
  });
  drawing.append(draw("text", { x: 21, y: 22.6, "text-anchor": "middle" }, new Intl.NumberFormat("en", { notation: "compact" }).format(all)));
  return drawing;
}
