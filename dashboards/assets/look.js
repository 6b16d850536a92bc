// The look of a tab: light, dark, or as the system has it. Markup follows by itself (theme.css), figures are repainted
// (painter.js). The choice stays in this browser.
const CHOICES = {
  system: ["As the system", "M12 3a9 9 0 1 0 0 18z M12 3a9 9 0 0 1 0 18"],
  light: ["Light", "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8z M12 2v2 M12 20v2 M2 12h2 M20 12h2 M5 5l1.4 1.4 M17.6 17.6L19 19 M19 5l-1.4 1.4 M6.4 17.6L5 19"],
  dark: ["Dark", "M20 14a8.5 8.5 0 1 1-10-10a7 7 0 0 0 10 10z"],
}
const root = document.documentElement
const chosen = () => root.dataset.theme ?? "system"

// Figures lie too deep for :focus-visible, so theme.css is told what is used at present.
addEventListener("keydown", (event) => { if (event.key === "Tab") root.toggleAttribute("data-keys", true) }, true)
addEventListener("pointerdown", () => root.removeAttribute("data-keys"), true)

const choose = (name) => {
  if (name === "system") delete root.dataset.theme
  else root.dataset.theme = name
  // A browser may keep nothing; the choice then lasts as long as the page.
  try { localStorage.setItem("cc-ray-theme", name) } catch { /* kept nowhere */ }
}

export function render({ model, view, el }) {
  const body = document.createElement("button")
  body.className = "look-switch"
  const draw = () => {
    const names = Object.keys(CHOICES), next = names[(names.indexOf(chosen()) + 1) % names.length]
    const [label, path] = CHOICES[chosen()]
    body.innerHTML = `<svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true"><path d="${path}"/></svg>`
    body.title = `Colours: ${label.toLowerCase()}. Click for ${CHOICES[next][0].toLowerCase()}.`
    body.setAttribute("aria-label", body.title)
    body.onclick = () => { choose(next); draw() }
  }
  dressed(el)
  draw()
  new Painter(model.paints).follow(view.model.document)
  return body
}
