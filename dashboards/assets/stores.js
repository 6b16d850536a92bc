// The store that the page shows, and a menu of others. Following one loads the page anew at its name, with the choices
// that the address holds; what the other store does not have falls away.
export function render({ model, el }) {
  const root = dressed(el)
  const menu = make("div", { class: "more-menu stores-menu", role: "menu", popover: "auto", "aria-label": "Stores" })
  const button = press(`${model.current} ▾`, () => (menu.matches(":popover-open") ? menu.hidePopover() : open()), {
    class: "stores-button", "aria-haspopup": "menu", "aria-expanded": "false",
    title: `The store ${model.current} is shown. Click for others.`,
  })
  const address = (name) => {
    const query = new URLSearchParams(location.search)
    query.delete("store")
    const rest = query.toString()
    const named = name ? [`store=${encodeURIComponent(name)}`] : []
    const all = [...named, ...(rest ? [rest] : [])].join("&")
    return all ? `?${all}` : "./"
  }
  const link = ([name, named, said]) => make("a", {
    role: "menuitemradio", tabindex: "-1", href: address(named), "aria-checked": String(name === model.current),
  }, make("b", {}, name), make("span", {}, said))
  const draw = () => {
    const at = [...menu.children].indexOf(root.activeElement)
    menu.replaceChildren(...model.rows.map(link))
    menu.children[at]?.focus()
  }
  const open = () => {
    draw()
    menu.showPopover()
    beside(menu, button)
    menu.querySelector("[aria-checked=true]")?.focus()
    model.send_msg({ do: "count" })
  }
  button.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); open() } })
  menu.addEventListener("toggle", (event) => button.setAttribute("aria-expanded", String(event.newState === "open")))
  menu.addEventListener("keydown", (event) => walkMenu(menu, event, () => menu.hidePopover()))
  model.on("rows", () => { if (menu.matches(":popover-open")) { draw(); beside(menu, button) } })
  return make("div", {}, button, menu)
}
