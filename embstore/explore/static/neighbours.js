// The view Neighbours: the nearest items of a text in spaces and layers, side by side.

import { post } from "./api.js";
import { commands } from "./command.js";
import { field, fill, h, number, select } from "./dom.js";
import { job } from "./job.js";
import { mustScan } from "./near.js";
import { searchField } from "./search.js";
import { set, state } from "./state.js";
import { notes } from "./table.js";

export function show(main, store) {
  const spaces = store.spaces.filter((space) => space.items);
  const chosen = () => spaces.find((space) => space.space === state.space) || spaces.find((space) => space.unit === "word") || spaces[0];
  const space = select(spaces.map((each) => each.space), chosen().space, (value) => set({ space: value }));
  const search = searchField({ label: "Text", value: state.marked || state.q, space: () => space.value, onpick: (text) => { set(isMarked(text) ? { marked: text } : { q: text, marked: "" }); run(); } });
  const layers = h("input", { type: "text", value: state.layers, placeholder: "top", onchange: () => set({ layers: layers.value }) });
  const k = h("input", { type: "number", min: "1", max: "1000", value: state.k, onchange: () => set({ k: k.value }) });
  const where = h("input", { type: "text", value: state.where, placeholder: "text LIKE 'a%'", onchange: () => set({ where: where.value }) });
  const embed = h("input", { type: "checkbox", checked: state.embed === "1", onchange: () => set({ embed: embed.checked ? "1" : "" }) });
  const result = h("div", { "aria-live": "polite" }, h("p", { class: "muted" }, "Give a text. In a space of occurrences, put brackets round one word of a sentence: the [bank] of the river."));
  const isMarked = (text) => ["occurrence", "token"].includes(spaces.find((each) => each.space === space.value).unit) && /\[.+\]/.test(text);

  function run() {
    const text = search.input.value.trim();
    if (!text) return undefined;
    set(isMarked(text) ? { marked: text } : { q: text, marked: "" });
    const own = spaces.find((each) => each.space === space.value);
    const body = {
      ...(isMarked(text) ? { marked: text } : { text }), spaces: [space.value], layers: layers.value || "top", k: Number(k.value) || 10,
      where: where.value || null, embed: embed.checked, exact: mustScan(own),
    };
    return job(result, "Searching", (signal) => post("/api/neighbours", body, signal), grid);
  }

  function grid(found) {
    const names = [...new Set(found.rows.map((row) => row.layer_name))];
    const ranks = Math.max(0, ...found.rows.map((row) => row.rank));
    const at = new Map(found.rows.map((row) => [`${row.layer_name} ${row.rank}`, row]));
    const layersOf = new Map();
    for (const row of found.rows) layersOf.set(row.item_id, (layersOf.get(row.item_id) || new Set()).add(row.layer_name));
    return [notes(found.notes), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Neighbours by layer" }, h("table", { class: "layers" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "rank"), names.map((name) => h("th", { scope: "col", colspan: "2" }, `layer ${name}`)))),
      h("tbody", {}, Array.from({ length: ranks }, (_, i) => h("tr", {}, h("td", {}, String(i + 1)), names.map((name, place) => {
        const row = at.get(`${name} ${i + 1}`);
        if (!row) return [h("td"), h("td")];
        const isKept = place > 0 && layersOf.get(row.item_id).has(names[place - 1]);
        return [h("td", { class: isKept && "kept", title: row.context || null }, row.context || row.text), h("td", { class: "n", title: String(row.cosine), "data-value": String(row.cosine) }, number(row.cosine))];
      })))))), names.length > 1 && h("p", { class: "hint" }, "Coloured: also among the neighbours in the layer before."), commands(found)];
  }

  fill(main, h("section", { class: "page" }, h("h1", {}, "Neighbours"), h("p", { class: "lead" }, "The nearest items of a text by cosine, exact, layers side by side."),
    h("div", { class: "columns" }, h("form", { onsubmit: (event) => { event.preventDefault(); run(); } }, search.element, field("Space", space),
      field("Layers", layers, "all, top, or numbers and ranges: 0-3,6"), field("Neighbours (k)", k), field("Only items where", where, "SQL over the item columns"),
      h("div", { class: "field" }, h("label", { class: "inline" }, embed, "encode a new text")), h("button", {}, "Find")), result)));
  if (state.q || state.marked) run();
}
