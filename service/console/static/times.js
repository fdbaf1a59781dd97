// Shows the times of a page in the zone of the reader. The title has the local time in full and the time in UTC.
"use strict";

const sameYear = new Intl.DateTimeFormat("en-US", { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const otherYear = new Intl.DateTimeFormat("en-US", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat("en-US", { dateStyle: "full", timeStyle: "long" });

function localize(element) {
  const time = new Date(element.dateTime);
  if (Number.isNaN(time.getTime()) || element.dataset.localized === element.dateTime) return;
  const format = time.getFullYear() === new Date().getFullYear() ? sameYear : otherYear;
  element.dataset.localized = element.dateTime;
  element.title = `${full.format(time)} · ${element.dateTime.replace("T", " ").replace("Z", " UTC")}`;
  element.textContent = format.format(time);
}

function localizeAll() {
  document.querySelectorAll("time[datetime]").forEach(localize);
}

localizeAll();
// Updates of the page replace elements.
new MutationObserver(localizeAll).observe(document.body, { childList: true, subtree: true });
