// The state of the page, kept in the address, so that a link reproduces a view.

const DEFAULTS = {
  tab: "map", panels: "", layer: "", q: "", marked: "", k: "10", colour: "none", column: "", positive: "", negative: "", view: "", lasso: "", map: "",
  where: "", metric: "anisotropy", space: "", layers: "", sample: "", seed: "0", transforms: "", by: "", bins: "", parameters: "",
  against: "", dataset: "", sql: "", embed: "", make: "",
};

export const state = { ...DEFAULTS };
const listeners = new Set();

export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function set(changes) {
  const keys = Object.keys(changes).filter((key) => state[key] !== String(changes[key] ?? ""));
  if (!keys.length) return;
  if (keys.includes("tab")) writeNow(); // so that the way back leads to the view as it was left
  for (const key of keys) state[key] = String(changes[key] ?? "");
  if (keys.includes("tab")) history.pushState(null, "", address());
  else writeSoon();
  tell(keys);
}

let timer = 0;
function writeSoon() {
  clearTimeout(timer);
  timer = setTimeout(writeNow, 150);
}

function writeNow() {
  clearTimeout(timer);
  history.replaceState(null, "", address());
}

export function address() {
  const given = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  return given.length ? `#${new URLSearchParams(given)}` : location.pathname;
}

export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const changed = Object.keys(DEFAULTS).filter((key) => state[key] !== (given.get(key) ?? DEFAULTS[key]));
  for (const key of changed) state[key] = given.get(key) ?? DEFAULTS[key];
  if (changed.length) tell(changed);
}

function tell(keys) {
  for (const listener of [...listeners]) listener(new Set(keys));
}

addEventListener("hashchange", read);
addEventListener("popstate", read);
