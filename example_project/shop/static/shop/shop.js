// The bookshop's one script. Every page works without it; with it, public pages show the visitor's name and
// basket, books go into the basket without leaving the page, the supplier answers in place, and orders arrive live.
"use strict";

const body = document.body;
const toast = document.querySelector("[data-toast]");
let toastTimer;

function say(text) {
  toast.textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.textContent = ""; }, 5000);
}

async function readJson(address, options = {}) {
  const response = await fetch(address, { headers: { Accept: "application/json", ...options.headers }, ...options });
  const data = await response.json();
  if (!response.ok) throw new Error(data.error || `The shop answered ${response.status}.`);
  return data;
}

function showOwn({ name, basket }) {
  if (name) document.querySelector("[data-own=name]").textContent = name;
  if (basket === undefined) return;
  const badge = document.querySelector("[data-own=basket]");
  badge.textContent = basket;
  badge.hidden = basket === 0;
}

readJson(body.dataset.me).then(showOwn).catch(() => {});

for (const filters of document.querySelectorAll("[data-filters]")) {
  if (matchMedia("(max-width: 760px)").matches) filters.open = false;
}

for (const form of document.querySelectorAll("[data-add]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const { token } = await readJson(body.dataset.token);
      const answer = await readJson(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "application/json", "X-CSRFToken": token },
      });
      showOwn({ basket: answer.basket });
      say(answer.text);
    } catch (error) {
      say(error.message);
    } finally {
      button.disabled = false;
    }
  });
}

for (const link of document.querySelectorAll("[data-supplier]")) {
  const place = document.querySelector("[data-supplier-answer]");
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    if (link.ariaDisabled === "true") return;
    link.ariaDisabled = "true";
    place.textContent = "Asking…";
    try {
      place.textContent = (await readJson(link.href)).text;
    } catch (error) {
      place.textContent = error.message;
    } finally {
      link.ariaDisabled = null;
    }
  });
}

for (const feed of document.querySelectorAll("[data-stream]")) {
  const state = document.querySelector("[data-stream-state]");
  const opened = Date.now();
  const source = new EventSource(feed.dataset.stream);
  source.addEventListener("open", () => { state.dataset.open = ""; state.textContent = "Live"; });
  source.addEventListener("error", () => { delete state.dataset.open; state.textContent = "Connecting"; });
  source.addEventListener("order", (message) => {
    const order = JSON.parse(message.data);
    const item = document.createElement("li");
    if (Date.parse(order.placed) > opened - 60_000) item.className = "fresh";
    for (const book of order.books) {
      const line = document.createElement("div");
      const link = document.createElement("a");
      link.href = book.url;
      link.textContent = book.title;
      line.append(book.quantity > 1 ? `${book.quantity} × ` : "", link);
      item.append(line);
    }
    const when = document.createElement("span");
    when.className = "when";
    const time = new Date(order.placed).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
    when.textContent = `to ${order.city}, ${time}`;
    item.append(when);
    feed.querySelector(".empty")?.remove();
    feed.prepend(item);
    while (feed.children.length > 20) feed.lastElementChild.remove();
  });
  addEventListener("pagehide", () => source.close());
}
