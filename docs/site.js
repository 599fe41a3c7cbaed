// Tables that scroll sideways on narrow screens can be reached and scrolled by the keyboard.
const reach = () => {
  for (const region of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) region.tabIndex = 0;
};
new MutationObserver(reach).observe(document.documentElement, { childList: true, subtree: true });
reach();
