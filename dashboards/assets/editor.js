// A textarea with a list of completions. Nothing is loaded from a network.
const KEYWORDS = ["SELECT", "FROM", "WHERE", "JOIN", "USING", "GROUP BY ALL", "ORDER BY", "LIMIT", "DESC", "DISTINCT",
  "count(*)", "avg", "min", "max", "sum", "median", "count_if", "HAVING", "WITH", "UNION ALL", "CASE WHEN", "IS NULL",
  "IS NOT NULL", "DESCRIBE", "SUMMARIZE", "SHOW TABLES"].map((name) => [name, "SQL", "", ""])
const SHOWN = 9

// What could stand where the cursor is: the word before it, and what fits, best first.
function candidates(text, at, names) {
  const word = /[\w.]*$/.exec(text.slice(0, at))[0]
  const [prefix, start] = word.includes(".") ? [word.split(".").pop(), word.split(".").at(-2)] : [word, ""]
  const words = new Set(text.toLowerCase().match(/\w+/g) ?? [])
  const alias = new RegExp(`(\\w+)\\s+(?:as\\s+)?${start}\\b`, "i").exec(text)?.[1] ?? ""
  const tables = new Set(names.filter((n) => n[1] === "view").map((n) => n[0]))
  const owner = tables.has(start) ? start : alias
  const lower = prefix.toLowerCase()
  if (!start && lower.length < 1) return { prefix, found: [] }
  const rank = ([name, kind, of]) => {
    const begins = name.toLowerCase().startsWith(lower) ? 0 : 4
    return begins + (kind === "column" ? (words.has(of) ? 0 : 3) : kind === "view" ? 1 : 2)
  }
  const fits = ([name, kind, of]) =>
    name.toLowerCase().includes(lower) && name !== prefix && (!start || (kind === "column" && of === owner))
  const seen = new Set()
  const found = [...names, ...KEYWORDS].filter(fits)
    .map((n) => [rank(n), n]).sort((a, b) => a[0] - b[0] || a[1][0].length - b[1][0].length).map(([, n]) => n)
    .filter(([name]) => !seen.has(name) && seen.add(name)).slice(0, SHOWN)
  return { prefix, found }
}

// Where the cursor is, in pixels from the field's upper left corner.
function caret(field) {
  const style = getComputedStyle(field)
  const pen = document.createElement("canvas").getContext("2d")
  pen.font = `${style.fontSize} ${style.fontFamily}`
  const lines = field.value.slice(0, field.selectionStart).split("\n")
  const height = parseFloat(style.lineHeight)
  const x = parseFloat(style.paddingLeft) + pen.measureText(lines.at(-1)).width - field.scrollLeft
  return [Math.min(x, field.clientWidth - 60), parseFloat(style.paddingTop) + lines.length * height - field.scrollTop]
}

export function render({ model, el }) {
  const root = dressed(el)
  const list = make("ul", { role: "listbox", id: "completions", class: "completions", "aria-label": "Completions" })
  const field = make("textarea", {
    class: "sql", "aria-label": "SQL query", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false",
    "aria-controls": "completions", spellcheck: "false", autocomplete: "off", wrap: "off",
    placeholder: "SELECT name, accuracy FROM models JOIN model_metrics USING (model_id) ORDER BY accuracy DESC",
  })
  const run = make("button", { class: "primary", title: "Ctrl+Enter" }, "Run")
  const files = ["csv", "parquet"].map((format) => [format, make("button", {
    title: `Runs the query again and keeps up to ${model.most.toLocaleString()} rows`,
  }, `Download ${format === "csv" ? "CSV" : "Parquet"}`)])
  const said = make("span", { class: "hint", role: "status" })
  const bar = make("div", { class: "bar editor-bar" }, run, ...files.map(([, button]) => button), said)
  const body = make("div", { class: "sql-editor" }, make("div", { class: "field-place" }, field, list), bar)
  let found = [], chosen = 0, prefix = "", began = 0

  const close = () => {
    found = []
    list.replaceChildren()
    list.style.display = "none"
    field.setAttribute("aria-expanded", "false")
    field.removeAttribute("aria-activedescendant")
  }
  const draw = () => {
    list.replaceChildren(...found.map(([name, kind, of, meaning], place) => {
      const item = make("li", { role: "option", id: `completion-${place}`, "aria-selected": String(place === chosen) },
        make("b", {}, name), make("small", {}, of || kind), make("span", {}, meaning))
      item.addEventListener("mousedown", (event) => { event.preventDefault(); take(place) })
      return item
    }))
    list.style.display = found.length ? "block" : "none"
    field.setAttribute("aria-expanded", String(found.length > 0))
    if (!found.length) return close()
    field.setAttribute("aria-activedescendant", `completion-${chosen}`)
    const [x, y] = caret(field)
    list.style.left = `${Math.max(0, Math.min(x, field.clientWidth - list.offsetWidth))}px`
    list.style.top = `${y + 4}px`
  }
  const suggest = () => {
    chosen = 0
    ;({ prefix, found } = field.selectionStart === field.selectionEnd
      ? candidates(field.value, field.selectionStart, model.names) : { prefix: "", found: [] })
    draw()
  }
  const write = (text, from, to) => {
    field.focus()
    field.setSelectionRange(from, to)
    // The browser's own way to write keeps Ctrl+Z.
    if (!document.execCommand("insertText", false, text)) field.setRangeText(text, from, to, "end")
    close()
  }
  const take = (place) => write(found[place][0], field.selectionStart - prefix.length, field.selectionStart)
  const start = () => {
    close()
    if (model.running) return
    if (!field.value.trim()) { said.textContent = "Write a query, or take one of the examples."; return }
    model.send_msg({ do: "run", query: field.value })
  }

  field.addEventListener("input", suggest)
  field.addEventListener("blur", close)
  field.addEventListener("scroll", close)
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); start(); return }
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); suggest(); return }
    if (event.key === "Escape" && model.running && !found.length) { model.send_msg({ do: "cancel" }); return }
    if (!found.length) return
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (move) { event.preventDefault(); chosen = (chosen + move + found.length) % found.length; draw() }
    else if (event.key === "Enter" || event.key === "Tab") { event.preventDefault(); take(chosen) }
    else if (event.key === "Escape") { event.preventDefault(); close() }
    else if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) close()
  })
  run.addEventListener("click", () => (model.running ? model.send_msg({ do: "cancel" }) : start()))
  for (const [format, button] of files) button.addEventListener("click", async () => {
    if (!field.value.trim()) { said.textContent = "Write a query first."; return }
    button.disabled = true
    said.textContent = `Making answer.${format} …`
    try {
      const { rows, more } = await fileOfSql(field.value, format, "answer", model.most)
      said.textContent = `${rows} rows in answer.${format}${more ? "; there are more" : ""}.`
    } catch (error) {
      said.textContent = error instanceof TypeError ? "The dashboard does not answer: try again." : error.message
    } finally { button.disabled = false }
  })

  const tick = () => {
    if (!model.running) return
    said.textContent = `Running, ${Math.floor((Date.now() - began) / 1000)} s`
    setTimeout(tick, 500)
  }
  const changed = () => {
    run.textContent = model.running ? "Cancel" : "Run"
    run.classList.toggle("primary", !model.running)
    said.textContent = ""
    if (model.running) { began = Date.now(); setTimeout(tick, 300) }
  }
  model.on("running", changed)
  model.on("query", () => { if (field.value !== model.query) field.value = model.query; close() })
  model.on("insert", () => write(model.insert[1], field.selectionStart, field.selectionEnd))
  field.value = model.query
  close()
  // A link shows what it is of; but not within another page, which could have questions asked that nobody sees.
  if (model.query && window.top === window) setTimeout(start, 0)
  return body
}
