// Keyboard shortcuts. <dialog id="shortcuts"> lists them. Rows of lists are table rows and list items with a link.
"use strict";

(() => {
  const dialog = document.getElementById("shortcuts");
  if (!dialog) return;

  const ROWS = "main tbody tr, main .items > li";
  const LINK = "a.name, a[href]";
  const GO_TO_MS = 1500;
  const OFF = "zof-results.shortcuts-off"; // screen readers and speech input can need the keys
  const toggle = dialog.querySelector("input");
  let goToUntil = 0;

  function isOff() {
    return Boolean(localStorage.getItem(OFF));
  }

  function isTyping(target) {
    return target.isContentEditable || Boolean(target.closest("input, select, textarea, [role=textbox]"));
  }

  function links() {
    return [...document.querySelectorAll(ROWS)]
      .map((row) => row.querySelector(LINK))
      .filter((link) => link && link.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true }));
  }

  function move(step) {
    const targets = links();
    const row = document.activeElement?.closest(ROWS);
    const current = targets.findIndex((link) => row && row.contains(link));
    const target = targets[Math.min(Math.max(current + step, 0), targets.length - 1)];
    if (!target) return;
    target.focus({ preventScroll: true });
    target.closest(ROWS).scrollIntoView({ block: "nearest" });
  }

  function search() {
    const form = document.querySelector("main [role=search]");
    const field = form && form.querySelector("input[type=search], input[type=text], select");
    if (!field) return;
    for (let part = field.parentElement; part !== form; part = part.parentElement) {
      if (part.localName === "details" && !field.checkVisibility({ contentVisibilityAuto: true })) part.open = true;
    }
    field.focus();
    if (field.select) field.select();
  }

  // Open the link with this key: of the navigation after "g", or of the page, such as the next failure.
  function open(selector, key) {
    const link = document.querySelector(`${selector}="${CSS.escape(key)}"]`);
    if (link) link.click();
    return Boolean(link);
  }

  function show() {
    toggle.checked = !isOff();
    dialog.showModal();
  }

  const ACTIONS = { "/": search, "?": show, j: () => move(1), k: () => move(-1), g: () => { goToUntil = Date.now() + GO_TO_MS; } };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open || isOff() || isTyping(target)) return;
    const isSecond = Date.now() < goToUntil;
    goToUntil = 0;
    if (isSecond && open("nav a[data-go-key", key)) return;
    if (Object.hasOwn(ACTIONS, key)) {
      event.preventDefault();
      ACTIONS[key]();
    } else {
      open("main a[data-key", key);
    }
  });
  toggle.addEventListener("change", () => {
    if (toggle.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  for (const button of document.querySelectorAll("[data-shortcuts]")) {
    button.hidden = false;
    button.addEventListener("click", show);
  }
})();
