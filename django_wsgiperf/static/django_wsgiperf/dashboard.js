/* Keeps the performance pages fresh, and asks before something is changed. The pages work without it.

   A refresh fetches the screen's fragment and replaces the sections that changed. One is under way at most; none while
   the page is hidden or a question is open; after a failure the next waits twice as long. */
"use strict";

(() => {
  const LONGEST_S = 300;
  const TIMEOUT_MS = 30000;
  const page = document.getElementById("wsgiperf");
  if (!page) return;
  const content = document.getElementById("wsgiperf-content");
  const status = document.getElementById("wsgiperf-status");
  const said = document.getElementById("wsgiperf-said");
  const dialog = document.getElementById("wsgiperf-dialog");
  const texts = JSON.parse(document.getElementById("wsgiperf-texts").textContent);
  const seconds = Number(page.dataset.refresh) || 0;

  let updated = Date.now();
  let due = updated + seconds * 1000;
  let failures = 0;
  let underWay = false;
  let isSignedOut = false;
  let sources = new Map(); // id of a section -> its markup as the server sent it

  const fill = (text, time) => text.replace("{time}", time);

  function span(milliseconds) {
    const whole = Math.max(0, Math.round(milliseconds / 1000));
    return whole < 120 ? texts.seconds.replace("{number}", whole) : texts.minutes.replace("{number}", Math.round(whole / 60));
  }

  /* On a phone the menu is wider than the window: the screen that is shown is to be seen in it. */
  const current = page.querySelector(".wsgiperf-menu [aria-current]");
  if (current) {
    const menu = current.closest(".wsgiperf-menu").getBoundingClientRect();
    const link = current.getBoundingClientRect();
    current.closest(".wsgiperf-menu").scrollLeft += (link.left + link.right - menu.left - menu.right) / 2;
  }

  /* -- refreshing -- */

  function stateNow() {
    if (isSignedOut) return "signedOut";
    if (failures) return "failed";
    return document.hidden || dialog.open ? "paused" : "updated";
  }

  function tell() {
    if (!seconds || !status) return;
    const state = stateNow();
    status.hidden = false;
    const age = Date.now() - updated;
    status.textContent =
      state === "signedOut" ? texts.signedOut
      : state === "failed" ? fill(texts.failed, span(due - Date.now()))
      : state === "paused" ? texts.paused
      : age < 1500 ? texts.now : fill(texts.updated, span(age));
    if (status.dataset.state !== state && (state === "failed" || state === "signedOut")) said.textContent = status.textContent;
    status.dataset.state = state;
  }

  function tick() {
    if (seconds && !isSignedOut && !document.hidden && !dialog.open && !underWay && Date.now() >= due) refresh();
    tell();
  }

  async function refresh() {
    underWay = true;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const pictures = typeof uPlot === "undefined" ? "&pictures=1" : "";
      const response = await fetch(page.dataset.fragment + pictures, { credentials: "same-origin", redirect: "manual", cache: "no-store", signal: stop.signal });
      if (response.type === "opaqueredirect" || response.status === 403) isSignedOut = true;
      else if (!response.headers.has("X-Wsgiperf-Fragment")) throw new Error(`status ${response.status}`);
      else {
        apply(new DOMParser().parseFromString(await response.text(), "text/html").body);
        failures = 0;
        updated = Date.now();
      }
    } catch {
      failures += 1;
    } finally {
      clearTimeout(timer);
      underWay = false;
      due = Date.now() + Math.min(seconds * 2 ** failures, LONGEST_S) * 1000;
      tell();
    }
  }

  const keyOf = (element, at) => element.id || `${element.tagName}-${element.className}-${at}`;
  const keysOf = (parent) => [...parent.children].map(keyOf);
  const sourcesOf = (parent) => new Map([...parent.children].map((child, at) => [keyOf(child, at), child.outerHTML]));

  /* A form that somebody fills in is left as it is. */
  function isInUse(section) {
    return [...section.querySelectorAll("input:not([type=hidden]), select")].some(
      (field) => field === document.activeElement || (field.tagName === "INPUT" && field.value !== field.defaultValue),
    );
  }

  /* Gives what takes the place of an element when its section is replaced: the same link, or what is in the same place. */
  function successorOf(element) {
    const FOCUSABLE = "a[href], button, input:not([type=hidden]), select, summary, [tabindex]";
    const home = element.closest("[id]").id;
    const within = () => [document.getElementById(home), ...(document.getElementById(home)?.querySelectorAll(FOCUSABLE) ?? [])];
    const at = within().indexOf(element);
    const address = element.getAttribute("href");
    return () => (address && within().find((each) => each?.getAttribute("href") === address)) || within()[at];
  }

  function apply(fresh) {
    const opened = new Map([...content.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
    const scrolled = [...content.querySelectorAll(".wsgiperf-scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
    const focused = content.contains(document.activeElement) ? document.activeElement : null;
    const successor = focused && successorOf(focused);
    const next = sourcesOf(fresh);
    for (const each of fresh.querySelectorAll("details[id]")) if (opened.has(each.id)) each.open = opened.get(each.id);
    if (JSON.stringify(keysOf(content)) === JSON.stringify(keysOf(fresh))) {
      const arrived = [...fresh.children];
      [...content.children].forEach((old, at) => {
        const key = keyOf(arrived[at], at);
        if (sources.get(key) !== next.get(key) && !isInUse(old)) old.replaceWith(document.importNode(arrived[at], true));
      });
    } else content.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    sources = next;
    content.querySelectorAll(".wsgiperf-scroll").forEach((each, at) => {
      if (scrolled[at]) [each.scrollLeft, each.scrollTop] = scrolled[at];
    });
    window.wsgiperfCharts?.draw();
    if (focused && !focused.isConnected) successor()?.focus({ preventScroll: true });
    else focused?.focus({ preventScroll: true }); // a chart that has moved to its new place
  }

  /* -- asking -- */

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.confirm || !dialog.showModal) return;
    event.preventDefault();
    const named = form.querySelector("input:not([type=hidden])");
    document.getElementById("wsgiperf-question").textContent = form.dataset.confirm + (named ? ` ${named.value}` : "");
    dialog.querySelector("[data-yes]").textContent = form.dataset.yes;
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return tell();
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = "confirmed";
      field.value = "1";
      form.append(field);
      HTMLFormElement.prototype.submit.call(form);
    }, { once: true });
    tell();
  });

  /* -- what needs the script, and what is there for its absence -- */

  for (const each of page.querySelectorAll("[data-needs-script]")) each.hidden = false;
  for (const each of page.querySelectorAll("[data-without-script]")) each.hidden = true;
  for (const form of page.querySelectorAll("[data-submit-on-change]")) form.addEventListener("change", () => form.submit());

  sources = sourcesOf(content);
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 1000);
  tell();
})();
