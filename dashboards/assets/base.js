// What components begin with: the page's look, and ways to make elements, to place them, to copy and to save.
// The look is one sheet for all of them: the page's own, which cannot be lent to a shadow tree as it is.
const theme = document.ccRayTheme ??= (() => {
  const sheet = new CSSStyleSheet()
  const rules = document.getElementById("theme")?.sheet?.cssRules ?? []
  sheet.replaceSync([...rules].map((rule) => rule.cssText).join("\n"))
  return sheet
})()

// Gives a component the page's look; returns the shadow tree that it stands in.
function dressed(el) {
  const root = el.getRootNode()
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, theme]
  return root
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

function press(text, act, attributes = {}) {
  const button = make("button", { type: "button", ...attributes }, text)
  button.addEventListener("click", act)
  return button
}

// Puts what is shown above the page below a button, as far as the window has room.
function beside(part, button) {
  const at = button.getBoundingClientRect(), own = part.getBoundingClientRect()
  part.style.left = `${Math.max(8, at.right - own.width)}px`
  part.style.top = `${Math.min(at.bottom + 4, innerHeight - own.height - 8)}px`
}

// Arrow keys in an open menu.
function walkMenu(menu, event, close) {
  const items = [...menu.querySelectorAll("[role^=menuitem]")], at = items.indexOf(menu.getRootNode().activeElement)
  const next = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 }[event.key]
  if (event.key === "Tab") close()
  if (next === undefined) return
  event.preventDefault()
  items.at(next % items.length)?.focus()
}

// Copies a text and says so on the button; `refused` is done where the browser does not allow it.
async function copy(text, button, refused) {
  const label = button.dataset.label ??= button.textContent
  try {
    await navigator.clipboard.writeText(text)
    button.textContent = "Copied"
  } catch {
    refused(text, button)
  }
  setTimeout(() => { button.textContent = label }, 2000)
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
