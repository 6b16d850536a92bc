"""The two pieces of the page that are plain HTML and a little JavaScript, with no library to load.

`Html` draws markup made by Python and reports clicks and choices, and on what with `data-point` the pointer is;
`Address` keeps the query part of the page's address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import param
from panel.custom import JSComponent

Message = Mapping[str, Any]
"""The `data-...` attributes of what was clicked, plus `value` of a field and `add` when Shift or Ctrl was held."""


class Html(JSComponent):  # type: ignore[misc] # Panel ships no types
    """Markup in the page's look, whose parts with a `data-do` attribute report to Python.

    Content is trusted: whoever makes it escapes what comes from the store.
    """

    content = param.String(doc="HTML.")

    _esm = """
    const theme = new CSSStyleSheet()
    theme.replaceSync(document.getElementById("theme")?.textContent ?? "")

    export function render({ model, el }) {
      const root = el.getRootNode()
      root.adoptedStyleSheets = [...root.adoptedStyleSheets, theme]
      const body = document.createElement("div")
      body.className = "content"
      const draw = () => {
        const focused = root.activeElement?.dataset?.key
        const open = new Set([...body.querySelectorAll("details[open]")].map((d) => d.dataset.key))
        body.innerHTML = model.content
        for (const d of body.querySelectorAll("details")) if (open.has(d.dataset.key)) d.open = true
        if (focused) body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus()
      }
      const send = (target, event, more = {}) =>
        model.send_msg({ ...target.dataset, add: event.shiftKey || event.ctrlKey || event.metaKey || false, ...more })
      body.addEventListener("click", (event) => {
        const target = event.target.closest("[data-do]")
        if (!target || target.matches("input, select")) return
        event.preventDefault()
        send(target, event)
      })
      body.addEventListener("keydown", (event) => {
        const target = event.target.closest("[data-do][tabindex]")
        if (!target || (event.key !== "Enter" && event.key !== " ")) return
        event.preventDefault()
        send(target, event)
      })
      body.addEventListener("change", (event) => {
        const target = event.target.closest("input[data-do], select[data-do]")
        if (target) send(target, event, { value: target.type === "checkbox" ? target.checked : target.value })
      })
      let pointed = ""
      const point = (event) => {
        const at = event.target.closest?.("[data-point]")?.dataset.point ?? ""
        if (at === pointed) return
        pointed = at
        model.send_msg({ do: "point", model: at })
      }
      body.addEventListener("mouseover", point)
      body.addEventListener("mouseleave", () => point({ target: body }))
      model.on("content", draw)
      draw()
      return body
    }
    """

    def __init__(self, content: str = "", on: Callable[[Message], None] | None = None, **params: Any) -> None:
        super().__init__(content=content, **{"sizing_mode": "stretch_width", "margin": 0} | params)
        self._on = on

    def _handle_msg(self, data: Message) -> None:
        if self._on is not None:
            self._on(data)


class Address(JSComponent):  # type: ignore[misc] # Panel ships no types
    """The query part of the page's address, `?` included.

    Moving to another page adds an entry to the browser's history; anything else replaces the current one.
    """

    query = param.String()

    _esm = """
    export function render({ model }) {
      const page = (query) => new URLSearchParams(query).get("page")
      model.on("query", () => {
        if (model.query === window.location.search) return
        const url = window.location.pathname + model.query + window.location.hash
        if (page(model.query) === page(window.location.search)) window.history.replaceState({}, "", url)
        else window.history.pushState({}, "", url)
      })
      window.addEventListener("popstate", () => { model.query = window.location.search })
      return document.createElement("span")
    }
    """
