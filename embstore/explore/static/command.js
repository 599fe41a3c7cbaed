// The command and the line of Python that give the same numbers, each with a button that copies it.

import { announce, h } from "./dom.js";

export function commands(result, title = "The same numbers elsewhere") {
  return h("details", { open: true, class: "commands" }, h("summary", {}, title),
    result.command && copyable("Command", result.command), result.python && copyable("Python", result.python));
}

export function copyable(label, text) {
  const code = h("pre", { tabindex: "0", "aria-label": label }, text);
  const button = h("button", { type: "button", class: "quiet", "aria-label": `Copy the ${label === "Python" ? "line of Python" : "command"}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce("Copied.");
    } catch {
      getSelection().selectAllChildren(code);
      announce("Selected: copy it with the keyboard.");
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
  return h("div", { class: "command" }, code, button);
}
