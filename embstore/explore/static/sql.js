// The view SQL: one SELECT over the views of the store.

import { post } from "./api.js";
import { commands } from "./command.js";
import { field, fill, h } from "./dom.js";
import { job } from "./job.js";
import { set, state } from "./state.js";
import { table } from "./table.js";

const EXAMPLES = [
  ["Items of each unit", "SELECT unit, count(*) AS n FROM items GROUP BY unit ORDER BY n DESC"],
  ["The longest texts", "SELECT text, length(text) AS letters FROM items ORDER BY letters DESC LIMIT 20"],
  ["Vectors of each space and layer", "SELECT space, layer, count(*) AS n FROM embeddings GROUP BY ALL ORDER BY ALL"],
  ["Why texts were skipped", "SELECT reason, count(*) AS n FROM skipped GROUP BY reason ORDER BY n DESC"],
];

export function show(main, store) {
  const query = h("textarea", { rows: "6", spellcheck: "false", value: state.sql || EXAMPLES[0][1] });
  const result = h("div", {});
  const run = () => { set({ sql: query.value }); return job(result, "Running", (signal) => post("/api/sql", { select: query.value }, signal), shown); };
  query.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } });

  function shown(found) {
    return [h("p", { class: "muted" }, found.is_cut ? `The first ${found.limit.toLocaleString("en")} rows; there are more. Add LIMIT, or run the command below for all of them.` : `${found.rows.length.toLocaleString("en")} row${found.rows.length === 1 ? "" : "s"}.`),
      table(found.columns, found.rows, { keys: found.columns.map((_, i) => String(i)), caption: "Rows" }), commands(found)];
  }

  const views = ["items", "columns", "built_in", "embeddings", "summaries", "skipped", "spaces", ...Object.keys(store.datasets).map((name) => `datasets.${name}`)];
  fill(main, h("section", { class: "page" }, h("h1", {}, "SQL"), h("p", { class: "lead" }, "One SELECT in DuckDB's SQL. It reads the store and nothing else, writes nothing, and ends after 10 seconds."),
    h("form", { onsubmit: (event) => { event.preventDefault(); run(); } }, field("Statement", query, "Ctrl and Enter run it"), h("div", { class: "row" }, h("button", {}, "Run"),
      EXAMPLES.map(([label, text]) => h("button", { type: "button", class: "quiet", onclick: () => { query.value = text; run(); } }, label)))),
    h("p", { class: "hint" }, `Views: ${views.join(", ")}. Macros: vec(space, layer, text), cosine(a, b), neighbours(space, layer, text, k := 10).`), result));
  if (state.sql) run();
}
