// The view Datasets: how well a space agrees with human scores, and the pairs that fit worst.

import { post } from "./api.js";
import { commands } from "./command.js";
import { field, fill, h, select } from "./dom.js";
import { job } from "./job.js";
import { isDark } from "./palette.js";
import { metricResult } from "./result.js";
import { set, state } from "./state.js";
import { table } from "./table.js";

export function show(main, store) {
  const kinds = Object.entries(store.datasets);
  const pairs = kinds.filter(([, kind]) => kind.endsWith("pairs")).map(([name]) => name);
  if (!pairs.length) {
    return fill(main, h("section", { class: "page" }, h("h1", {}, "Datasets"), h("p", {}, "This store has no dataset of pairs. Embed one, then reload this page:"),
      h("pre", { tabindex: "0" }, `embstore build rg65 stsb --store ${store.path}`)));
  }
  const unitOf = (name) => store.datasets[name].split(" ")[0];
  const dataset = select(pairs.map((name) => [name, `${name} (${store.datasets[name]})`]), pairs.includes(state.dataset) ? state.dataset : pairs[0], (value) => { set({ dataset: value }); offer(); });
  const space = h("select", { onchange: () => { set({ space: space.value }); offer(); } });
  const layer = h("select", { onchange: () => set({ layer: layer.value }) });
  const result = h("div", {}), worst = h("div", {});

  function offer() {
    const fitting = store.spaces.filter((each) => each.items && each.unit === unitOf(dataset.value));
    const chosen = fitting.find((each) => each.space === (space.value || state.space)) || fitting[0];
    fill(space, fitting.map((each) => h("option", { value: each.space, selected: each === chosen }, each.space)));
    const names = chosen?.layer_names || [];
    const current = names.includes(layer.value || state.layer) ? layer.value || state.layer : names.at(-1);
    fill(layer, names.map((name) => h("option", { value: name, selected: name === current }, name)));
  }

  function compute() {
    if (!space.value) return fill(result, h("p", { class: "error", role: "alert" }, `No space of the store has ${unitOf(dataset.value)}s.`));
    const body = { name: "similarity", parameters: { dataset: dataset.value }, options: { spaces: [space.value], layers: "all" }, theme: isDark() ? "dark" : "screen", width: Math.max(300, Math.min(760, result.clientWidth || 640)) };
    job(result, "Correlating", (signal) => post("/api/metric", body, signal), (found) => metricResult(found, "similarity"));
    return job(worst, "Ranking the pairs", (signal) => post("/api/residuals", { dataset: dataset.value, space: space.value, layer: layer.value }, signal), residuals);
  }

  function residuals(found) {
    return [h("h2", {}, `The pairs that fit layer ${layer.value} worst`), h("p", { class: "muted" }, `Rank of the cosine minus rank of the score, both from 0 to 1, over ${found.n} of ${found.total} pairs: above 0 the model finds the pair more similar than people do.`),
      table(["text", "text 2", "score", "cosine", "residual"], found.rows, { keys: ["text", "text_2", "score", "cosine", "residual"], caption: "Pairs with the largest residuals" }), commands(found)];
  }

  fill(main, h("section", { class: "page" }, h("h1", {}, "Datasets"), h("div", { class: "columns" },
    h("form", { onsubmit: (event) => { event.preventDefault(); set({ dataset: dataset.value }); compute(); } }, field("Dataset of pairs", dataset), field("Space", space), field("Layer of the list", layer), h("button", {}, "Compute"),
      h("h2", { class: "spaced" }, "In this store"), h("ul", { class: "notes" }, kinds.map(([name, kind]) => h("li", {}, `${name}: ${kind}`)))), h("div", {}, result, worst))));
  offer();
  if (state.dataset) compute();
  return undefined;
}
