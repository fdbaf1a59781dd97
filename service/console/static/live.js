// Live updates. <main data-live="URL"> names a stream of changes. After a change, the script loads the page again and
// replaces each element with the attribute data-live-part and an ID. <main data-live-interval="S"> is a page without its
// object, which is loaded again every S seconds until the object exists. Without the script, pages work unchanged.
"use strict";

(() => {
  const LIVE = "main[data-live], main[data-live-interval]";
  const main = document.querySelector(LIVE);
  if (!main || !window.EventSource || !window.fetch) return;

  const MIN_INTERVAL_MS = 2000;
  const RECONNECT_MS = 30000;
  const INTERVAL_MS = 1000 * (main.dataset.liveInterval || 0);
  let source = null;
  let timer = null;
  let isLoading = false;
  let loadedAt = Date.now();
  let isInterrupted = false;
  let isFinished = false;
  const state = main.querySelector("[data-live-state]");
  // The HTML of each part before times.js changes its times, to find the parts that have changed.
  const received = new Map();
  for (const part of main.querySelectorAll("[data-live-part]")) received.set(part.id, part.innerHTML);

  function connect() {
    if (source || document.hidden || isFinished) return;
    if (INTERVAL_MS) {
      showState(true);
      setTimeout(schedule, INTERVAL_MS);
      return;
    }
    source = new EventSource(main.dataset.live);
    source.addEventListener("changed", schedule);
    source.addEventListener("open", () => {
      if (isInterrupted) schedule(); // changes during the interruption were not reported
      isInterrupted = false;
      showState(true);
    });
    source.addEventListener("error", () => {
      isInterrupted = true;
      showState(false);
      if (source && source.readyState === EventSource.CLOSED) {
        disconnect();
        schedule(); // if the session has ended, this opens the sign-in page
        setTimeout(connect, RECONNECT_MS);
      }
    });
  }

  function disconnect() {
    if (source) source.close();
    source = null;
    showState(false);
  }

  function showState(isLive) {
    if (state) state.hidden = !isLive;
  }

  function schedule() {
    if (timer !== null || document.hidden) return;
    timer = setTimeout(load, Math.max(0, loadedAt + MIN_INTERVAL_MS - Date.now()));
  }

  async function load() {
    timer = null;
    if (isLoading || isSelecting()) {
      schedule();
      return;
    }
    isLoading = true;
    loadedAt = Date.now();
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      const hasParts = INTERVAL_MS ? response.status === 404 : response.ok;
      if (response.redirected || response.status === 401 || (INTERVAL_MS && response.ok)) location.reload();
      else if (hasParts) replaceParts(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      // The network is interrupted. The stream reconnects, and the next change loads the page again.
    } finally {
      isLoading = false;
      if (INTERVAL_MS) connect();
    }
  }

  function isSelecting() {
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed && main.contains(selection.anchorNode));
  }

  function replaceParts(page) {
    if (!page.querySelector(LIVE)) { // for example, the run is complete
      isFinished = true;
      disconnect();
    }
    for (const part of main.querySelectorAll("[data-live-part]")) {
      const loaded = page.getElementById(part.id);
      if (!loaded || loaded.innerHTML === received.get(part.id)) continue;
      received.set(part.id, loaded.innerHTML);
      replace(part, document.adoptNode(loaded));
    }
  }

  function replace(part, loaded) {
    const focused = part.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
    const [left, top] = [window.scrollX, window.scrollY];
    keepOpen(part, loaded);
    part.replaceWith(loaded);
    const target = focused && loaded.querySelector(focused);
    if (target) target.focus({ preventScroll: true });
    window.scrollTo(left, top);
  }

  function keepOpen(part, loaded) {
    for (const open of part.querySelectorAll("details[open][id]")) {
      const same = loaded.querySelector(selectorOf(open));
      if (same) same.open = true;
    }
  }

  function selectorOf(element) {
    if (element.id) return `#${CSS.escape(element.id)}`;
    const link = element.getAttribute("href");
    return link ? `[href="${CSS.escape(link)}"]` : null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      disconnect();
    } else {
      connect();
      schedule();
    }
  });
  connect();
})();
