"""A real browser that looks at a page, on a desk and on a phone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def faults(url: str, shots: Path) -> list[str]:
    """What is wrong with the page at both widths: errors, requests to elsewhere, what reaches over the edge.

    A picture of each is left in `shots`. Skips where there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium; `make browser` installs it where it may")
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("console", lambda message: problems.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: problems.append(f"error: {error}"))
            page.on("request", lambda request: problems.extend(f"requests {u}" for u in [request.url] if u != url
                                                          and not u.startswith("data:")))  # fmt: skip
            page.goto(url)
            for details in page.query_selector_all("details"):
                details.evaluate("e => e.open = true")
            over = page.evaluate(_OVER)
            problems.extend(f"{name}: {element} reaches over the edge" for element in over)
            page.screenshot(path=shots / f"{name}.png", full_page=True)
        browser.close()
    return problems


def fetched(origin: str, url: str) -> str:
    """What a page that is served at `origin` gets for a JSON request: status and text, or the browser's refusal.

    Skips where there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium; `make browser` installs it where it may")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{origin}/")
        answer: str = page.evaluate(_FETCH, url)
        browser.close()
    return answer


_FETCH = """async url => {
  const sent = {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'};
  try { const r = await fetch(url, sent); return `${r.status} ${await r.text()}`; } catch (e) { return String(e); }
}"""
_OVER = """() => {
  const wide = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
  const inside = e => e.closest('.wide') && e.closest('.wide') !== e;
  return wide.concat([...document.querySelectorAll('main *')].filter(e => !inside(e) && !e.closest('svg')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className));
}"""
