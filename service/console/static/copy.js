// Copies the address of a link with `data-copy`. Without the clipboard of a secure page, the link works as a link.
"use strict";

document.querySelectorAll("a[data-copy]").forEach((link) => {
  link.addEventListener("click", async (event) => {
    if (!navigator.clipboard || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const text = link.querySelector("span");
    try {
      await navigator.clipboard.writeText(link.href);
      text.textContent = "Link copied";
    } catch {
      location.assign(link.href);
    }
  });
});
