// The runbooks of alerts were part of the page of operations, to which rules of older versions lead.
if (location.pathname.endsWith("/operations/") && location.hash.startsWith("#results")) location.replace(`alerts/${location.hash}`);

// Let the keyboard scroll wide tables, which the theme wraps after it has loaded, and name the dialog of the search.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
const tables = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  }
});
new MutationObserver(() => {
  for (const wrapper of document.querySelectorAll(".md-typeset__scrollwrap")) tables.observe(wrapper);
}).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
