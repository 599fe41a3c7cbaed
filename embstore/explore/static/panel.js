// A panel: the map of one space with its zoom, hover and lasso. Panels share what is searched, hovered and selected.

import { fill, h, number, select, shown } from "./dom.js";
import { context, fitted, isSample, placeAt } from "./mapdata.js";
import { standing } from "./newtext.js";
import { drawOverlay } from "./overlay.js";
import { paint } from "./palette.js";
import { Scatter } from "./scatter.js";

const NEAR_PIXELS = 12;
const METHODS = { pca: "PCA", tsne: "t-SNE" };

export class Panel {
  // host: {spaces, spec: {space, layer}, onspace, onlayer, onclose, onhover, onpick, onlasso, onview}
  constructor(host) {
    Object.assign(this, { host, map: null, depth: 0, view: null, query: [], near: [], hovered: null, selected: null, placed: null, lasso: null, isLasso: false, labels: [] });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.overlay = h("canvas", { "aria-hidden": "true" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.layerName = h("div", { class: "layer-name", "aria-hidden": "true" });
    this.caption = h("div", { class: "caption" });
    this.plot = h("div", { class: "plot", tabindex: "0", role: "application" }, this.canvas, this.overlay, this.layerName, this.caption, this.tip);
    this.body = h("div", { class: "plot-place" });
    this.spaceSelect = select(host.spaces.map((space) => [space.space, space.space]), host.spec.space, host.onspace);
    this.spaceSelect.setAttribute("aria-label", "Space of this panel");
    this.layerSelect = h("select", { "aria-label": "Layer of this panel", hidden: true, onchange: (event) => host.onlayer(event.target.value) });
    const shownName = (name) => name.replace(/^stored (pca|tsne)/, (_, method) => METHODS[method]);
    const maps = host.maps.length ? select([...host.maps.map((name, at) => [at ? name : "", shownName(name)]), ["pca", "PCA, made now"]], host.map, host.onmap) : null;
    maps?.setAttribute("aria-label", "Map of this panel");
    this.element = h("section", { class: "panel", "aria-label": `Map of ${host.spec.space}` },
      h("div", { class: "panel-head" }, this.spaceSelect, this.layerSelect, maps,
        host.onclose && h("button", { type: "button", class: "quiet", "aria-label": "Close this panel", onclick: host.onclose }, "×")), this.plot);
    this.listen();
  }

  setMap(map) {
    this.map = map;
    this.scatter ||= new Scatter(this.canvas, () => this.redraw());
    this.scatter.setMap(map);
    this.whole = fitted(map);
    this.view ||= { ...this.whole };
    this.colour(null);
    this.layerSelect.hidden = false;
    fill(this.layerSelect, h("option", { value: "" }, "by slider"), map.layers.map((name) =>
      h("option", { value: name, selected: name === this.host.spec.layer }, `layer ${name}`)));
    const kept = (layer) => { const share = map.kept?.[Math.round(this.depth)] ?? null; return share === null ? `layer ${layer}` : `layer ${layer} keeps ${(100 * share).toFixed(1)} % of the true ten nearest`; };
    const name = METHODS[map.method] || map.method;
    const sample = map.n < map.n_stored ? ` · ${isSample(map) ? "a sample of " : ""}${map.n.toLocaleString("en")} of ${map.n_stored.toLocaleString("en")} items${map.where ? ` (${map.where})` : ""}` : "";
    this.describe = () => {
      const layer = map.layers[Math.round(this.depth)];
      this.layerName.textContent = layer;
      const placed = this.placed ? ` · “${this.placed.text}” is not on this map. ${standing(this.placed)}.` : "";
      fill(this.caption, h("span", {}, `${name} · ${kept(layer)}${sample}${placed}`));
      this.plot.setAttribute("aria-label", `Map of ${map.n} items of ${map.space}, layer ${layer}. Arrow keys move, plus and minus zoom, 0 shows all, the square brackets change the layer.`);
    };
    this.resize();
  }

  colour(found) {
    this.found = found;
    if (this.map && this.scatter) this.scatter.setColours(paint(this.map.n, found, this.selected));
    this.redraw();
  }

  setDepth(depth) {
    this.depth = Math.max(0, Math.min(this.map ? this.map.layers.length - 1 : 0, depth));
    this.redraw();
  }

  resize() {
    const scale = devicePixelRatio || 1;
    const { width, height } = this.plot.getBoundingClientRect();
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.max(1, Math.round(width * scale));
      canvas.height = Math.max(1, Math.round(height * scale));
    }
    Object.assign(this, { width, height });
    this.redraw();
  }

  redraw() {
    this.pending ||= requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  draw() {
    if (!this.map || !this.width) return;
    const started = performance.now();
    const scale = devicePixelRatio || 1;
    const size = Math.max(2.2, Math.min(9, 260 / Math.sqrt(this.map.n) * Math.sqrt(this.whole.half / this.view.half))) * scale;
    this.scatter.draw(this.depth, this.view, size, this.isMoving);
    this.describe();
    drawOverlay(this);
    this.frameMilliseconds = performance.now() - started;
  }

  // While something moves, fewer items are drawn; all of them a moment after it stops.
  moving() {
    this.isMoving = true;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => { this.isMoving = false; this.redraw(); }, 180);
    this.redraw();
  }

  toScreen([x, y]) {
    const zoom = Math.min(this.width, this.height) / 2 / this.view.half;
    return [this.width / 2 + (x - this.view.x) * zoom, this.height / 2 - (y - this.view.y) * zoom];
  }

  toMap(x, y) {
    const zoom = Math.min(this.width, this.height) / 2 / this.view.half;
    return [this.view.x + (x - this.width / 2) / zoom, this.view.y - (y - this.height / 2) / zoom];
  }

  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const before = this.toMap(x, y);
    this.view.half = Math.max(1e-4, Math.min(1e3, this.view.half * factor));
    const after = this.toMap(x, y);
    this.moveBy(before[0] - after[0], before[1] - after[1]);
  }

  moveBy(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.host.onview(this);
    this.moving();
  }

  fit() {
    this.view = { ...this.whole };
    this.host.onview(this);
    this.redraw();
  }

  itemNear(x, y) {
    let best = null, nearest = NEAR_PIXELS ** 2;
    const [mapX, mapY] = this.toMap(x, y);
    const zoom = Math.min(this.width, this.height) / 2 / this.view.half;
    for (let item = 0; item < this.map.n; item++) {
      const [px, py] = placeAt(this.map, item, this.depth);
      const distance = ((px - mapX) * zoom) ** 2 + ((py - mapY) * zoom) ** 2;
      if (distance < nearest) { nearest = distance; best = item; }
    }
    return best;
  }

  hover(item, x, y) {
    this.hovered = item;
    this.tip.hidden = item === null;
    if (item !== null) {
      fill(this.tip, this.map.isOccurrence ? sentence(this.map, item) : this.map.texts[item].slice(0, 300), value(this.found, this.map, item));
      const [sx, sy] = x === undefined ? this.toScreen(placeAt(this.map, item, this.depth)) : [x, y];
      const left = Math.max(4, Math.min(sx + 14, this.width - this.tip.offsetWidth - 6));
      const top = sy + 18 + this.tip.offsetHeight > this.height ? sy - this.tip.offsetHeight - 12 : sy + 16;
      this.tip.style.transform = `translate(${left}px, ${Math.max(4, top)}px)`;
    }
    this.redraw();
  }

  listen() {
    const { plot } = this;
    let drag = null;
    const place = (event) => { const box = plot.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    plot.addEventListener("pointerdown", (event) => {
      if (!this.map || event.button) return;
      plot.setPointerCapture(event.pointerId);
      const [x, y] = place(event);
      drag = { x, y, moved: 0, lasso: this.isLasso || event.shiftKey ? [this.toMap(x, y)] : null };
    });
    plot.addEventListener("pointermove", (event) => {
      if (!this.map) return;
      const [x, y] = place(event);
      if (!drag) return this.host.onhover(this, this.itemNear(x, y), x, y);
      drag.moved += Math.abs(x - drag.x) + Math.abs(y - drag.y);
      if (drag.lasso) {
        drag.lasso.push(this.toMap(x, y));
        this.lasso = drag.lasso;
        this.redraw();
      } else {
        const a = this.toMap(drag.x, drag.y), b = this.toMap(x, y);
        this.moveBy(a[0] - b[0], a[1] - b[1]);
      }
      Object.assign(drag, { x, y });
      return undefined;
    });
    plot.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const [x, y] = place(event);
      const item = this.itemNear(x, y);
      if (drag.lasso && drag.lasso.length > 2) this.host.onlasso(this, drag.lasso);
      else if (drag.moved < 5 && item !== null) this.host.onpick(this, item);
      drag = null;
    });
    plot.addEventListener("pointercancel", () => { drag = null; });
    plot.addEventListener("pointerleave", () => { if (!drag) this.host.onhover(this, null); });
    plot.addEventListener("dblclick", () => { if (this.map) this.fit(); });
    plot.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (this.map) this.zoomBy(Math.exp(Math.max(-80, Math.min(80, event.deltaY)) / 260), ...place(event));
    }, { passive: false });
    plot.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(plot);
  }

  key(event) {
    const step = this.view ? this.view.half / 5 : 0;
    const actions = {
      ArrowLeft: () => this.moveBy(-step, 0), ArrowRight: () => this.moveBy(step, 0), ArrowUp: () => this.moveBy(0, step),
      ArrowDown: () => this.moveBy(0, -step), "+": () => this.zoomBy(0.8), "=": () => this.zoomBy(0.8), "-": () => this.zoomBy(1.25),
      0: () => this.fit(),
    };
    if (!this.map || !actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  release() {
    cancelAnimationFrame(this.pending);
    this.scatter?.release();
  }
}

// What an item is coloured by.
function value(found, map, item) {
  if (!found) return null;
  const at = found.values[item] ?? null;
  if (at !== null && map.isOccurrence && found.categories?.[at] === map.contexts[map.context_of[item]].slice(0, 200)) return null; // stands above
  return h("div", { class: "hint" }, `${found.label}: ${at === null ? "no value" : found.categories ? found.categories[at] : number(at)}`);
}

function sentence(map, item) {
  const [before, word, after] = context(map, item);
  const cut = (text, isEnd) => (text.length > 160 ? (isEnd ? `…${text.slice(-160)}` : `${text.slice(0, 160)}…`) : text);
  return [shown(cut(before, true)), h("mark", {}, word), shown(cut(after, false))];
}
