// The view Store: what it holds, where its vectors come from, and what was skipped.

import { get } from "./api.js";
import { commands } from "./command.js";
import { fill, h } from "./dom.js";
import { job } from "./job.js";
import { set } from "./state.js";
import { notes, table } from "./table.js";

const bytes = (n) => { const units = ["B", "kB", "MB", "GB", "TB"]; let i = 0; while (n >= 999.95 && i < 4) { n /= 1000; i++; } return `${i ? n.toFixed(1) : n} ${units[i]}`; };

export function show(main, store) {
  const more = h("div", {});
  const rows = store.spaces.map((space) => ({ ...space, items: space.items.toLocaleString("en"), size: bytes(space.bytes) }));
  fill(main, h("section", { class: "page" }, h("h1", {}, store.name), h("p", { class: "muted" }, store.path), notes(store.notes),
    rows.length ? table(["space", "layers", "dim", "items", "size", "index", "recall of the index"], rows, { keys: ["space", "layers", "dim", "items", "size", "index", "index_recall"], caption: "Spaces", right: ["items", "size"] })
      : h("p", {}, "It holds no space yet. Fill it with: embstore build"),
    h("p", { class: "row spaced" }, store.spaces.filter((space) => space.items).map((space) => h("button", { type: "button", class: "quiet", onclick: () => set({ tab: "map", make: "1", panels: space.space }) }, `Map of ${space.space}`))), more));
  job(more, "Reading", (signal) => get("/api/inventory", {}, signal), (found) => [
    h("h2", { class: "spaced" }, "Cards"),
    Object.entries(found.cards).map(([name, card]) => h("details", {}, h("summary", {}, name), h("dl", { class: "card" },
      Object.entries(card).map(([key, value]) => [h("dt", {}, key), h("dd", {}, value !== null && typeof value === "object" ? JSON.stringify(value) : String(value))])))),
    h("h2", { class: "spaced" }, "Skipped texts"),
    found.n_skipped ? [h("p", { class: "muted" }, `${found.n_skipped.toLocaleString("en")} texts${found.n_skipped > found.skipped.length ? `; the first ${found.skipped.length} are listed` : ""}.`), table(found.skipped_columns, found.skipped, { caption: "Skipped texts" })]
      : h("p", { class: "muted" }, "No text was skipped."),
    commands(found),
  ]);
}
