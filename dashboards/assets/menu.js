// The menu of a card: a button, the menu it opens, and the dialog with queries.
const LONGEST_LINK = 4000
const FORMATS = [["csv", "CSV"], ["parquet", "Parquet"]]

export function render({ model, el }) {
  const root = dressed(el)
  const card = () => root.host.getRootNode().host
  const button = make("button", {
    class: "more", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": "Files, pictures and query of this card",
    title: "Download, picture, query",
  })
  button.innerHTML = '<svg viewBox="0 0 16 4" width="16" height="4" aria-hidden="true"><circle cx="2" cy="2" r="1.6"/>' +
    '<circle cx="8" cy="2" r="1.6"/><circle cx="14" cy="2" r="1.6"/></svg>'
  const menu = make("div", { class: "more-menu", role: "menu", popover: "auto" })
  const told = make("div", { class: "more-said", role: "status", popover: "manual" })
  const dialog = make("dialog", { class: "queries", "aria-label": "Query" })
  const body = make("div", { class: "more-place" }, button, menu, told, dialog)

  let hiding = 0
  const say = (text) => {
    told.textContent = text
    if (!told.matches(":popover-open")) told.showPopover()
    beside(told, button)
    clearTimeout(hiding)
    hiding = setTimeout(() => told.matches(":popover-open") && told.hidePopover(), 8000)
  }
  const attempt = (work) => async () => {
    close()
    try { await work() }
    catch (error) { say(error instanceof TypeError ? "The dashboard does not answer: try again." : error.message) }
  }
  const download = (table, format) => attempt(async () => {
    say(`Making ${table.file}.${format} …`)
    const { rows, more } = table.address
      ? await fileOfQuestion(table.address, format, table.file, say)
      : await fileOfSql(table.sql, format, table.file, PAGE)
    // Of many models the API cannot be asked by name.
    const of = table.address || !table.command ? "" : ", as the SQL gives them"
    say(`${Number(rows).toLocaleString()} rows in ${table.file}.${format}${of}${more ? "; there are more" : ""}.`)
  })
  const draw = (format) => attempt(async () => {
    const drawn = picture(card())
    if (!drawn) return say("There is nothing to draw yet.")
    const svg = new Blob([drawn.svg], { type: "image/svg+xml" })
    save(format === "svg" ? svg : await asPng(drawn), `${model.file}.${format}`)
    say(`${model.file}.${format} is saved.`)
  })

  const item = (text, act) => press(text, act, { role: "menuitem", tabindex: "-1" })
  const fill = () => {
    const files = model.tables.length === 1
      ? FORMATS.map(([format, name]) => item(`Download ${name}`, download(model.tables[0], format)))
      : model.tables.map((table) => make("div", { class: "more-row", role: "group", "aria-label": table.title },
        make("span", {}, table.title), ...FORMATS.map(([format, name]) => item(name, download(table, format)))))
    const line = () => make("hr", { role: "separator" })
    const pictures = model.picture ? [line(), item("Picture as PNG", draw("png")), item("Picture as SVG", draw("svg"))] : []
    menu.replaceChildren(...files, ...pictures, line(), item("Show query", () => { close(); ask() }))
  }
  const close = () => menu.matches(":popover-open") && menu.hidePopover()
  const open = () => {
    fill()
    menu.showPopover()
    beside(menu, button)
    menu.querySelector("[role=menuitem]")?.focus()
  }

  const mark = (text, button) => { button.textContent = "Mark it and press Ctrl+C" }
  const copied = (label, text) => {
    const button = press("Copy", () => copy(text, button, mark), { "aria-label": `Copy ${label}` })
    return button
  }
  const part = (label, text, ...more) => make("section", {},
    make("div", { class: "bar" }, make("b", {}, label), copied(label, text), ...more), make("pre", { tabindex: "0" }, text))
  const queries = (table, place) => {
    const go = press("Open on the SQL page", () => { dialog.close(); model.send_msg({ do: "sql", place }) })
    const address = table.address && new URL(api(table.address), location.href).href
    return [
      make("h2", {}, table.title), make("p", { class: "soft" }, table.note),
      part("SQL", table.sql, ...(table.sql.length <= LONGEST_LINK ? [go] : [])),
      ...(table.command ? [part("Command line", table.command)] : []),
      ...(address ? [part("Address of the API", address)] : []),
    ]
  }
  const ask = () => {
    const shut = press("×", () => dialog.close(), { class: "cross", "aria-label": "Close", title: "Close" })
    dialog.replaceChildren(...model.tables.flatMap(queries))
    dialog.querySelector("h2")?.append(shut)
    dialog.showModal()
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close() })
  dialog.addEventListener("close", () => button.focus())

  button.addEventListener("click", () => (menu.matches(":popover-open") ? close() : open()))
  button.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); open() } })
  menu.addEventListener("toggle", (event) => button.setAttribute("aria-expanded", String(event.newState === "open")))
  menu.addEventListener("keydown", (event) => walkMenu(menu, event, close))
  const there = () => { button.hidden = !model.tables.length }
  model.on("tables", there)
  there()
  return body
}
