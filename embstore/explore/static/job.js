// Show that something is computed, with the time and a button that cancels it; then its result, or why there is none.

import { announce, fill, h } from "./dom.js";

const running = new WeakMap();

export async function job(place, what, run, show) {
  running.get(place)?.abort();
  const control = new AbortController();
  running.set(place, control);
  const seconds = h("span", { class: "seconds" });
  const started = performance.now();
  const tick = setInterval(() => { seconds.textContent = ` ${Math.round((performance.now() - started) / 1000)} s`; }, 500);
  const delay = setTimeout(() => {
    if (control.signal.aborted) return;
    fill(place, h("p", { class: "busy" }, h("span", { class: "dot", "aria-hidden": "true" }), what, seconds, " ",
      h("button", { type: "button", class: "quiet", onclick: () => control.abort() }, "Cancel")));
  }, 150);
  try {
    const result = await run(control.signal);
    if (running.get(place) !== control) return undefined;
    fill(place, show(result));
    return result;
  } catch (error) {
    if (running.get(place) !== control) return undefined;
    if (error.name === "AbortError") fill(place, h("p", { class: "muted" }, "Cancelled."));
    else fill(place, h("p", { class: "error", role: "alert" }, error.message));
    if (error.name !== "AbortError" && error.name !== "Error") console.warn(error.message);
    return undefined;
  } finally {
    clearTimeout(delay);
    clearInterval(tick);
    if (running.get(place) === control) announce("");
  }
}
