// The view Layers × layers: how similar the layers of one or two spaces are, as a heat map whose cells open two maps.

import { post } from "./api.js";
import { commands } from "./command.js";
import { field, fill, h, select } from "./dom.js";
import { job } from "./job.js";
import { ramp } from "./palette.js";
import { set, state } from "./state.js";
import { notes } from "./table.js";

export function show(main, store) {
  const spaces = store.spaces.filter((space) => space.items);
  const names = store.metrics.filter((metric) => metric.needs === "layers").map((metric) => metric.name);
  const metric = select(names, names.includes(state.metric) ? state.metric : names[0], (value) => set({ metric: value }));
  const given = spaces.find((space) => space.space === state.space) || spaces.find((space) => space.unit === "word") || spaces[0];
  const space = select(spaces.map((each) => each.space), given.space, (value) => set({ space: value }));
  const against = select([["", "itself"], ...spaces.map((each) => [each.space, each.space])], state.against, (value) => set({ against: value }));
  const where = h("input", { type: "text", value: state.where, placeholder: "length(text) > 3", onchange: () => set({ where: where.value }) });
  const sample = h("input", { type: "text", value: state.sample, placeholder: "all", onchange: () => set({ sample: sample.value }) });
  const result = h("div", {}, h("p", { class: "muted" }, "A cell compares two layers over the same items. Choose one to see the two maps side by side."));

  function compute() {
    set({ metric: metric.value, space: space.value });
    const body = {
      name: metric.value, parameters: against.value && against.value !== space.value ? { against: against.value } : {},
      options: { spaces: [space.value], layers: "all", where: where.value, sample: sample.value ? Number(sample.value) : null },
    };
    return job(result, `Computing ${metric.value}`, (signal) => post("/api/metric", body, signal), heat);
  }

  function heat(found) {
    const rows = [...new Set(found.rows.map((row) => row.layer_name))], columns = [...new Set(found.rows.map((row) => row.layer_name_2))];
    const value = found.columns.find((column) => found.rows.some((row) => typeof row[column] === "number") && !["layer", "layer_2", "n", "seed", "sample", "k"].includes(column));
    const at = new Map(found.rows.map((row) => [`${row.layer_name} ${row.layer_name_2}`, row]));
    const second = found.rows[0]?.space_2 || space.value;
    const cell = (row) => {
      if (!row || row[value] === null) return h("td", { title: row?.reason || "not computed" }, "–");
      const farthest = store.distances[value]; // of a distance, whose small values are alike
      const colour = ramp(farthest ? 1 - row[value] / farthest : row[value]), isDarkCell = colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11 < 118;
      const button = h("button", { type: "button", title: `${row[value]}; n = ${row.n}`, "data-value": String(row[value]), onclick: () => set({ tab: "map", make: "1", panels: `${space.value}@${row.layer_name};${second}@${row.layer_name_2}` }) }, row[value].toFixed(2));
      const element = h("td", {}, button);
      element.style.background = `rgb(${colour})`;
      button.style.color = isDarkCell ? "#ffffff" : "#101314";
      return element;
    };
    return [notes(found.notes), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Heat map" }, h("table", { class: "heat" },
      h("caption", {}, `${value} of the layers of ${space.value} (down) and ${second} (across)`),
      h("thead", {}, h("tr", {}, h("th"), columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((name) => h("tr", {}, h("th", { scope: "row" }, name), columns.map((other) => cell(at.get(`${name} ${other}`)))))))), commands(found)];
  }

  fill(main, h("section", { class: "page" }, h("h1", {}, "Layers × layers"), h("div", { class: "columns" },
    h("form", { onsubmit: (event) => { event.preventDefault(); compute(); } }, field("Similarity", metric), field("Space", space), field("Against", against),
      field("Where", where, "SQL over the item columns"), field("Sample", sample, "Items drawn at random"), h("button", {}, "Compute")), result)));
  if (location.hash.includes("metric=") && names.includes(state.metric)) compute();
}
