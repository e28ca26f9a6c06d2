// A line chart of the last minutes, redrawn with each figure.

import { draw, make } from "./page.js";

const KEPT = 180;
export class Chart {
  /** A chart with a title; `show` turns a figure into text. `most` is the top of the scale, if it is fixed. */
  constructor(title, show, most) {
    this.show = show;
    this.most = most;
    this.series = new Map();
    this.length = 0;
    this.title = title;
    this.legend = make("span");
    this.svg = draw("svg", { viewBox: `0 0 ${KEPT - 1} 100`, preserveAspectRatio: "none", role: "img" });
    this.element = make("figure", { class: "chart" }, make("figcaption", {}, make("span", {}, title), this.legend));
    this.element.append(this.svg);
  }

  /** Adds one figure for each name; null where there is none. */
  add(figures) {
    this.length += 1;
    for (const name of Object.keys(figures)) {
      if (!this.series.has(name)) {
        this.series.set(name, Array(Math.min(this.length - 1, KEPT)).fill(null));
      }
    }
    for (const [name, points] of this.series) {
      points.push(figures[name] ?? null);
      if (points.length > KEPT) {
        points.shift();
      }
      if (points.every((point) => point === null || point === 0) && !(name in figures)) {
        this.series.delete(name);
      }
    }
    this.paint();
  }

  paint() {
    const all = [...this.series.values()].flat().filter((point) => point !== null);
    const most = this.most ?? Math.max(...all, 0);
    const lines = [draw("line", { x1: 0, y1: 99.5, x2: KEPT - 1, y2: 99.5, class: "base" })];
    this.legend.replaceChildren();
    let place = 0;
    for (const [name, points] of this.series) {
      const style = `series${place % 5}`;
      const now = points.at(-1);
      const label = now === null ? `${name} –` : `${name} ${this.show(now)}`;
      this.legend.append(make("span", { class: style }, label), " ");
      const start = KEPT - points.length;
      let run = [];
      const end = () => {
        if (run.length === 1) {
          // A line needs two ends.
          run.unshift(run[0].replace(/^\d+/, (x) => x - 1));
        }
        if (run.length > 0) {
          lines.push(draw("polyline", { points: run.join(" "), class: style }));
        }
        run = [];
      };
      points.forEach((point, at) => {
        if (point === null) {
          end();
        } else {
          run.push(`${start + at},${(98 - (most > 0 ? point / most : 0) * 94).toFixed(2)}`);
        }
      });
      end();
      place += 1;
    }
    this.svg.replaceChildren(...lines);
    this.svg.setAttribute("aria-label", `${this.title}: ${this.legend.textContent}, at most ${this.show(most)}`);
  }
}
