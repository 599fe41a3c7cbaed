// The frame of the page: views, theme, and what is wrong with the store.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { onChange, read, set, state } from "./state.js";

const VIEWS = [
  ["map", "Map", "./map.js"], ["neighbours", "Neighbours", "./neighbours.js"], ["metrics", "Metrics", "./metrics.js"],
  ["layers", "Layers × layers", "./layers.js"], ["datasets", "Datasets", "./datasets.js"], ["sql", "SQL", "./sql.js"],
  ["store", "Store", "./store.js"],
];
const main = document.getElementById("main");
const banner = document.getElementById("banner");
let store = null;
let leave = null;
let shown = null; // the module of the view
let views_shown = 0;

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return localStorage.getItem("embstore-theme") || (dark ? "dark" : "light");
}

function applyTheme() {
  document.documentElement.dataset.theme = theme();
  dispatchEvent(new Event("themechange"));
}

function views() {
  fill(document.getElementById("views"), VIEWS.map(([key, label]) => h("button", {
    type: "button", "aria-current": state.tab === key ? "page" : null, onclick: () => set({ ...(key !== state.tab && shown?.carried?.(store)), tab: key }),
  }, label)));
}

async function show() {
  views();
  if (leave) leave();
  leave = null;
  const entry = VIEWS.find(([key]) => key === state.tab) || VIEWS[0];
  document.title = `${entry[1]} · ${store.name} · embstore`;
  if (!store.spaces.some((space) => space.items) && entry[0] !== "store" && entry[0] !== "sql") {
    return fill(main, empty());
  }
  const turn = views_shown += 1;
  const module = await import(entry[2]);
  if (turn !== views_shown) return; // another view was chosen meanwhile
  shown = module;
  leave = module.show(main, store) || null;
}

function empty() {
  return h("section", { class: "page" }, h("h1", {}, "This store holds no items yet"),
    h("p", {}, "Fill it from a file of texts or a dataset, then reload this page:"),
    h("pre", { tabindex: "0" }, `embstore build words --model minilm --store ${store.path}`),
    h("p", {}, h("button", { type: "button", onclick: () => location.reload() }, "Reload")));
}

function warn(message, button) {
  if (banner.dataset.message === message) return;
  banner.dataset.message = message;
  fill(banner, h("span", {}, message), button);
  banner.hidden = false;
}

async function watch() {
  if (document.hidden) return;
  try {
    const { fingerprint } = await get("/api/fingerprint");
    const reload = h("button", { type: "button", onclick: () => location.reload() }, "Reload");
    if (fingerprint !== store.fingerprint) warn("The store has changed since this page was loaded.", reload);
    else if (!banner.hidden) { banner.hidden = true; banner.dataset.message = ""; }
  } catch (error) {
    warn(error.message);
  }
}

async function start() {
  applyTheme();
  document.getElementById("theme").addEventListener("click", () => {
    localStorage.setItem("embstore-theme", theme() === "dark" ? "light" : "dark");
    applyTheme();
  });
  document.getElementById("skip").addEventListener("click", () => main.focus());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  read();
  try {
    store = await get("/api/store");
  } catch (error) {
    views();
    return fill(main, h("section", { class: "page" }, h("h1", {}, "The store cannot be read"),
      h("p", { class: "error", role: "alert" }, error.message),
      h("p", {}, h("button", { type: "button", onclick: () => location.reload() }, "Try again"))));
  }
  document.getElementById("store-name").textContent = store.name;
  onChange((keys) => { if (keys.has("tab")) show(); });
  setInterval(watch, 10_000);
  addEventListener("focus", watch);
  return show();
}

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
});

start();
