"""Looks at a page in the browser for what keeps people from using it: of WCAG 2.2, what a program can see.

Each probe returns faults in words. Contrast is in test_shop.py, and what markup alone shows in dashboard/markup.py.
"""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Page

FAULTS: Final = """(root) => {
  const faults = [];
  const inside = [...document.querySelectorAll(`${root}, ${root} *`)];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length;
  const isHidden = (element) => element.closest("[aria-hidden=true], [hidden], [class$=hidden]") !== null;
  const told = (element) => element.getAttribute("aria-label") ?? element.textContent.trim().slice(0, 30);
  const called = (element) => `${element.tagName.toLowerCase()}#${element.id} '${told(element)}'`;

  // 4.1.2, 1.3.1: what can be used has a name.
  const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const controls = inside.filter((element) => element.matches(CONTROLS) && seen(element));
  for (const element of controls) {
    const others = (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id));
    const labels = [...(element.labels ?? []), ...others].map((label) => label?.textContent ?? "").join("");
    const own = element.getAttribute("aria-label") ?? (element.matches("input, select") ? "" : element.textContent);
    if (!`${labels}${own}`.trim()) faults.push(`no name: ${called(element)}`);
  }

  // 2.5.8: targets are 24 pixels large, or as far from each other. Links in a sentence are let off.
  const targets = controls.filter((element) => element.matches("a, button, input, select, summary"));
  const inSentence = (element) => getComputedStyle(element).display === "inline" && element.closest("p, li") !== null;
  const boxes = targets.map((element) => [element, element.getBoundingClientRect()]);
  const isSmall = (box) => box.width < 23.5 || box.height < 23.5;
  const apart = (x, y, box) => Math.hypot(
    Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
  for (const [element, box] of boxes) {
    if (!isSmall(box) || inSentence(element)) continue;
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const near = boxes.find(([other, theirs]) => other !== element && (isSmall(theirs)
      ? Math.hypot(x - (theirs.left + theirs.right) / 2, y - (theirs.top + theirs.bottom) / 2) < 24
      : apart(x, y, theirs) < 12));
    if (near) faults.push(`small: ${called(element)} ${box.width.toFixed()}x${box.height.toFixed()}`);
  }

  // 1.3.1: no level of headings is left out.
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!heading.checkVisibility() || heading.closest("dialog, nav, header")) continue;
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push(`h${next} after h${level}: ${called(heading)}`);
    level = next;
  }

  // 1.3.1: numbers stand under a heading or beside one, pictures say what they show.
  for (const table of inside.filter((element) => element.matches("table") && seen(element))) {
    if (!table.querySelector("th[scope]")) faults.push(`table without headings: ${called(table)}`);
  }
  for (const picture of inside.filter((element) => element.matches("svg, canvas") && seen(element))) {
    if (isHidden(picture)) continue;
    const isTold = picture.querySelector("title") || picture.closest("[aria-label][tabindex]");
    if (!isTold) faults.push(`picture that is not told: ${called(picture.parentElement)}`);
  }

  // 1.4.4, 1.4.10: no text is cut off.
  for (const element of inside) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !seen(element) || isHidden(element) || element.closest("svg")) continue;
    const { overflowX, overflowY } = getComputedStyle(element);
    const isCut = (overflow, over) => ["hidden", "clip"].includes(overflow) && over > 1;
    if (
      isCut(overflowX, element.scrollWidth - element.clientWidth)
      || isCut(overflowY, element.scrollHeight - element.clientHeight - 1)
    ) faults.push(`cut off: ${called(element)}`);
  }
  return [...new Set(faults)];
}"""

FOCUSED: Final = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const [x, y] = [Math.max(0, Math.min(innerWidth - 1, (box.left + box.right) / 2)), (box.top + box.bottom) / 2];
  element.dataset.reached = "1";
  return {
    name: `${element.tagName.toLowerCase()}#${element.id} '${element.textContent.trim().slice(0, 30)}'`,
    isMarked: (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none",
    isSeen: box.bottom > 0 && box.top < innerHeight && x >= 0 && y > -box.height,
  };
}"""

FROM_THE_TOP: Final = """() => {
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute("tabindex");
}"""

UNREACHED: Final = """(root) => {
  const CONTROLS = "a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']";
  return [...document.querySelector(root).querySelectorAll(CONTROLS)]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }))
    .filter((element) => !element.dataset.reached && !element.disabled && element.tabIndex >= 0)
    .map((element) => `not reached: ${element.tagName.toLowerCase()}#${element.id} '${element.textContent.trim()}'`);
}"""


def faults(page: Page, root: str) -> list[str]:
    """What is wrong with the controls, headings, tables, pictures and texts below `root`, a selector."""
    found: list[str] = page.evaluate(FAULTS, root)
    return found


def faults_of_keyboard(page: Page, root: str) -> list[str]:
    """What Tab does not reach below `root`, and where it cannot be seen to be."""
    found: list[str] = []
    page.evaluate(FROM_THE_TOP)
    for _ in range(page.locator("a, button, input, select, summary, [tabindex]").count() + 10):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            break
        if not focused["isMarked"]:
            found.append(f"no mark of the focus: {focused['name']}")
        if not focused["isSeen"]:
            found.append(f"out of the window: {focused['name']}")
    return [*found, *page.evaluate(UNREACHED, root)]
