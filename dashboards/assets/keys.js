// What is said of the part under the pointer or in focus: its `data-tip`, or the place of a grid's cell.
function said(target) {
  const cell = target.closest("table[data-grid] tbody td")
  if (cell) {
    const column = cell.closest("table").tHead.rows[0].cells[cell.cellIndex]
    return `${cell.parentElement.dataset.name} · ${column.dataset.name}: ${cell.dataset.v ?? "–"}`
  }
  return target.closest("[data-tip]")?.dataset.tip
}

const SLOW = "tr, button, a, label, select, input"
const WAIT_MS = 400

// What is said of a part is known to screen readers before it is shown.
function describe(target) {
  const text = said(target)
  if (text && target.getAttribute("aria-label") !== text) target.setAttribute("aria-description", text)
}

// Shows it above the page, so that nothing cuts it off: at once where it is asked for, later on what has a use of its own.
// Gives a function that hides it.
function tips(body, root) {
  const tip = document.createElement("div")
  tip.className = "tip"
  tip.popover = "manual"
  tip.setAttribute("role", "tooltip")
  let shown = null, waiting = 0
  const hide = () => {
    clearTimeout(waiting)
    if (shown && tip.isConnected) tip.hidePopover()
    shown = null
  }
  const show = (event) => {
    const target = event.target.closest("table[data-grid] tbody td, [data-tip]")
    if (target === shown) return
    hide()
    const text = target && said(target)
    if (!text) return
    shown = target
    if (event.type === "focusin") describe(target)
    waiting = setTimeout(() => open(target, text), event.type === "mouseover" && target.matches(SLOW) ? WAIT_MS : 0)
  }
  const open = (target, text) => {
    if (!target.isConnected) return
    if (!tip.isConnected) root.append(tip)
    tip.textContent = text
    tip.showPopover()
    place()
  }
  const place = () => {
    const at = shown.getBoundingClientRect(), own = tip.getBoundingClientRect()
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), innerWidth - own.width - 8)
    const above = at.top - own.height - 6
    tip.style.left = `${left}px`
    tip.style.top = `${above < 8 ? Math.min(at.bottom + 6, innerHeight - own.height - 8) : above}px`
  }
  body.addEventListener("mouseover", show)
  body.addEventListener("focusin", show)
  body.addEventListener("mouseleave", hide)
  body.addEventListener("focusout", hide)
  body.addEventListener("keydown", (event) => { if (event.key === "Escape") hide() })
  // What the keyboard reaches scrolls into sight after it has the focus.
  addEventListener("scroll", () => shown && shown === (root.activeElement ?? document.activeElement) ? place() : hide(), true)
  return hide
}

// Arrow keys in a tree: up and down the rows, right unfolds, left folds or goes to the row above in the tree.
function walkRows(row, key) {
  const rows = [...row.parentElement.rows], at = rows.indexOf(row)
  const fold = (open) => row.querySelector(`.fold[aria-expanded=${open}]`)
  const above = () => rows.find((other) => other.dataset.path === row.dataset.parent)
  switch (key) {
    case "ArrowDown": return rows[at + 1]
    case "ArrowUp": return rows[at - 1]
    case "Home": return rows[0]
    case "End": return rows.at(-1)
    case "ArrowRight": return fold(false) ? fold(false).click() ?? row : rows[at + 1]
    case "ArrowLeft": return fold(true) ? fold(true).click() ?? row : above() ?? row
  }
}

// Arrow keys in a grid: from cell to cell.
function walkCells(cell, key) {
  const row = cell.parentElement, at = cell.cellIndex
  const beside = (other) => other?.matches("td") ? other : cell
  switch (key) {
    case "ArrowDown": return row.nextElementSibling?.cells[at] ?? cell
    case "ArrowUp": return row.previousElementSibling?.cells[at] ?? cell
    case "ArrowRight": return beside(cell.nextElementSibling)
    case "ArrowLeft": return beside(cell.previousElementSibling)
    case "Home": return row.querySelector("td")
    case "End": return row.cells[row.cells.length - 1]
  }
}

function walk(body, send) {
  const pick = (cell, event) => {
    const table = cell.closest("table"), column = table.tHead.rows[0].cells[cell.cellIndex]
    table.querySelector("td[aria-selected=true]")?.removeAttribute("aria-selected")
    cell.setAttribute("aria-selected", "true")
    const { row } = cell.parentElement.dataset
    send({ dataset: { do: table.dataset.grid, row, column: column.dataset.column } }, event)
  }
  body.addEventListener("click", (event) => {
    const cell = event.target.closest("table[data-grid] tbody td")
    if (cell) pick(cell, event)
    const row = event.target.closest("button") ? null : event.target.closest("[role=treegrid] tbody tr")
    if (row) for (const other of row.parentElement.rows) other.classList.toggle("picked", other === row)
  })
  body.addEventListener("keydown", (event) => {
    const cell = event.target.closest("table[data-grid] tbody td")
    const row = event.target.closest("[role=treegrid] tbody tr")
    if (cell && event.key === "Enter") pick(cell, event)
    const next = cell ? walkCells(cell, event.key) : row ? walkRows(row, event.key) : undefined
    if (!next) return
    event.preventDefault()
    if (cell) { cell.tabIndex = -1; next.tabIndex = 0 }
    next.focus()
    next.scrollIntoView({ block: "nearest", inline: "nearest" })
  })
}

// Arrow keys in a table of parts that can be reached: from part to part.
function lead(event) {
  const cell = event.target.closest("[data-cells] [tabindex]")
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key]
  if (!cell || !step) return
  const rows = [...cell.closest("[data-cells]").querySelectorAll("tr")]
  const cells = rows.map((row) => [...row.querySelectorAll("[tabindex]")]).filter((row) => row.length)
  const y = cells.findIndex((row) => row.includes(cell))
  const next = cells[y + step[0]]?.[cells[y].indexOf(cell) + step[1]]
  if (!next) return
  event.preventDefault()
  cell.tabIndex = -1
  next.tabIndex = 0
  next.focus()
}
