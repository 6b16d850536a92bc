// What every part made of markup can do, by the attributes of what is in it:
// data-do       reports a click, a key or a choice to Python, with all data-attributes
// data-point    is a model that is ringed in all plots of the page while the pointer is on it
// data-of       is lit, in every part of the page, while the pointer is on anything of the same name
// data-live     is a field that reports while one types; what is typed stays when the part is drawn anew
// data-tip      is explained beside it while it is pointed at or focused (keys.js)
// data-brush    is an axis from data-low to data-high, on which an interval is dragged or chosen with the arrow keys
// data-page     is a link to another page, which keeps what else the address says
// data-model    of a row with aria-selected that selects: it is marked while Python counts the model among the chosen
// data-follow   is scrolled to its end whenever it is drawn anew, unless one has scrolled up
// data-zoom     shows what it stands in large, or small again
// data-cells    is a table through whose parts with a tabindex the arrow keys lead
// data-grid     is a table of plain cells that arrow keys lead through and that are picked (keys.js)
// What is chosen is seen before it is answered.
function mark(target, adds) {
  const [name, group] = target.matches(".switch button")
    ? ["aria-pressed", target.closest(".switch")]
    : ["aria-selected", target.matches("td, tr[aria-selected]") ? target.closest("table") : null]
  if (!group) return
  const before = adds && target.matches("tr") ? [] : group.querySelectorAll(`${target.localName}[${name}="true"]`)
  for (const marked of before) marked.setAttribute(name, "false")
  target.setAttribute(name, "true")
}

const SIGN_MS = 250

class Brush {
  constructor(axis, report) {
    this.axis = axis
    this.report = report
    this.low = Number(axis.dataset.low)
    this.high = Number(axis.dataset.high)
    this.bins = Number(axis.dataset.bins)
  }

  share(event) {
    const at = this.axis.getBoundingClientRect()
    return Math.min(1, Math.max(0, (event.clientX - at.left) / at.width))
  }

  show(from, to) {
    const band = this.axis.querySelector(".band")
    band.style.left = `${100 * Math.min(from, to)}%`
    band.style.width = `${100 * Math.abs(to - from)}%`
  }

  tell(from, to) {
    const value = (share) => this.low + share * (this.high - this.low)
    // Ends that touch the axis's hold what lies on them, however it is rounded.
    const slack = 1e-6 * (this.high - this.low)
    this.report(from === to ? {} : { low: value(Math.min(from, to)) - slack, high: value(Math.max(from, to)) + slack })
  }

  drag(event) {
    const start = this.share(event)
    this.axis.setPointerCapture(event.pointerId)
    const move = (moved) => this.show(start, this.share(moved))
    const end = (ended) => {
      this.axis.removeEventListener("pointermove", move)
      const width = this.axis.getBoundingClientRect().width
      const to = this.share(ended)
      this.tell(start, Math.abs(to - start) * width > 3 ? to : start)
    }
    this.axis.addEventListener("pointermove", move)
    this.axis.addEventListener("pointerup", end, { once: true })
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (event.key === "Escape") return this.tell(0, 0)
    if (!step) return
    event.preventDefault()
    const [from, to] = this.axis.dataset.at ? this.axis.dataset.at.split(",").map(Number) : [step > 0 ? -1 : this.bins, 0]
    const first = Math.min(this.bins - 1, Math.max(0, from + (event.shiftKey ? 0 : step)))
    const last = Math.min(this.bins, Math.max(first + 1, event.shiftKey ? to + step : first + 1))
    this.axis.dataset.at = `${first},${last}`
    this.show(first / this.bins, last / this.bins)
    clearTimeout(this.axis.waiting)
    this.axis.waiting = setTimeout(() => this.tell(first / this.bins, last / this.bins), 250)
  }
}

export function render({ model, view, el }) {
  const root = dressed(el)
  const body = document.createElement("div")
  body.className = "content"
  // Noted as it happens: to ask for it lays out the whole page.
  const scrolled = new Map()
  body.addEventListener("scroll", ({ target }) => {
    if (target.dataset.scroll) scrolled.set(target.dataset.scroll, [target.scrollLeft, target.scrollTop])
  }, true)
  const choose = () => {
    if (!model.chosen) return
    const ids = new Set(model.chosen)
    for (const row of body.querySelectorAll("tr[data-do=select][aria-selected]")) {
      row.setAttribute("aria-selected", ids.has(row.dataset.model))
    }
  }
  const draw = () => {
    const focused = root.activeElement?.dataset?.key
    const live = root.activeElement?.matches("[data-live]") ? root.activeElement : null
    const typed = live && [live.value, live.selectionStart, live.selectionEnd]
    const open = new Set([...body.querySelectorAll("details[open]")].map((d) => d.dataset.key))
    const log = body.querySelector("[data-follow]")
    const follows = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 4
    const read = log?.scrollTop ?? 0
    body.innerHTML = model.content
    const grown = body.querySelector("[data-follow]")
    if (grown) requestAnimationFrame(() => { grown.scrollTop = follows ? grown.scrollHeight : read })
    for (const d of body.querySelectorAll("details")) if (open.has(d.dataset.key)) d.open = true
    for (const told of body.querySelectorAll("[data-tip]:is([tabindex='0'], button, a, select, input)")) describe(told)
    choose()
    for (const [key, [left, top]] of scrolled) body.querySelector(`[data-scroll="${key}"]`)?.scrollTo(left, top)
    const again = focused ? body.querySelector(`[data-key="${CSS.escape(focused)}"]`) : null
    again?.focus()
    if (!typed || !again?.matches("[data-live]")) return
    again.value = typed[0]
    again.setSelectionRange(typed[1], typed[2])
  }
  const adds = (event) => event.shiftKey || event.ctrlKey || event.metaKey || false
  const send = (target, event, more = {}) => model.send_msg({ ...target.dataset, add: adds(event), ...more })
  const brush = (event) => {
    const axis = event.target.closest?.("[data-brush]")
    return axis && new Brush(axis, (ends) => model.send_msg({ do: "brush", model: axis.dataset.brush, ...ends }))
  }
  body.addEventListener("pointerdown", (event) => {
    const started = event.button === 0 && brush(event)
    if (!started) return
    event.preventDefault()
    started.drag(event)
  })
  body.addEventListener("click", (event) => {
    event.target.closest("[data-zoom]")?.closest("figure")?.classList.toggle("large")
    const target = event.target.closest("[data-do]")
    if (!target || target.matches("input, select, textarea")) return
    if (target.contains(event.target.closest("details"))) return
    event.preventDefault()
    mark(target, adds(event))
    send(target, event)
  })
  body.addEventListener("keydown", (event) => {
    brush(event)?.key(event)
    lead(event)
    const target = event.target.closest("[data-do]")
    if (target?.contains(event.target.closest("details"))) return
    if (!target?.matches("[tabindex]:not(button)") || (event.key !== "Enter" && event.key !== " ")) return
    event.preventDefault()
    mark(target, adds(event))
    send(target, event)
  })
  body.addEventListener("change", (event) => {
    const target = event.target.closest("input[data-do], select[data-do], textarea[data-do]")
    if (target) send(target, event, { value: target.type === "checkbox" ? target.checked : target.value })
  })
  body.addEventListener("input", (event) => {
    const target = event.target.closest("[data-live]")
    if (!target) return
    clearTimeout(target.waiting)
    target.waiting = setTimeout(() => target.isConnected && send(target, event, { value: target.value }), 250)
  })
  let pointed = ""
  const point = (event) => {
    const over = event.target.closest?.("[data-of]")?.dataset.of ?? ""
    document.dispatchEvent(new CustomEvent("cc-ray-point", { detail: over }))
    const at = event.target.closest?.("[data-point]")?.dataset.point ?? ""
    if (at === pointed) return
    pointed = at
    // Bokeh keeps those of plots that were replaced for a while, and refuses to choose where there are several.
    const known = [...(view.model.document?._all_models.values() ?? [])]
    known.findLast((each) => each.name === "pointing")?.execute(null, { model: at })
  }
  document.addEventListener("cc-ray-point", ({ detail }) => {
    for (const lit of body.querySelectorAll(".lit")) if (lit.dataset.of !== detail) lit.classList.remove("lit")
    if (detail) for (const same of body.querySelectorAll(`[data-of="${CSS.escape(detail)}"]`)) same.classList.add("lit")
  })
  body.addEventListener("mouseover", point)
  // Written when somebody is about to follow it: the address changes more often.
  const lead_on = ({ target }) => {
    const link = target.closest?.("a[data-page]")
    if (!link) return
    const query = new URLSearchParams(location.search)
    query.set("page", link.dataset.page)
    link.search = query
  }
  for (const near of ["mouseover", "focusin"]) body.addEventListener(near, lead_on)
  body.addEventListener("mouseleave", () => point({ target: body }))
  const hide = tips(body, root)
  walk(body, send)
  // Both signs come late, the second by theme.css: quick answers show nothing of them, and touch nothing.
  const sign = make("div", { class: "waiting", role: "status" }, "computing …")
  const stop = press("Cancel", () => model.send_msg({ do: "cancel-work" }), { "data-key": "cancel-work" })
  let late_sign = 0
  const wait = () => {
    if (body.classList.contains("busy") !== model.busy) body.classList.toggle("busy", model.busy)
    clearTimeout(late_sign)
    if (model.busy && !sign.isConnected) late_sign = setTimeout(signal, SIGN_MS)
    else if (model.busy) signal()
    else if (sign.isConnected) sign.remove()
  }
  const signal = () => {
    sign.replaceChildren("computing …", ...(model.stoppable ? [stop] : []))
    if (!sign.isConnected) root.append(sign)
  }
  // What is pressed stays where it is until it is let go: drawn anew meanwhile, it would not be clicked.
  let pressed = false, late = false
  const redraw = () => {
    late = pressed
    if (!pressed) { hide(); draw() }
  }
  const release = () => setTimeout(() => {
    pressed = false
    if (late) redraw()
  })
  body.addEventListener("pointerdown", () => { pressed = true })
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => pressed && release(), true)
  model.on("content", redraw)
  model.on("chosen", choose)
  model.on("busy", wait)
  model.on("stoppable", wait)
  // A text that Python sends as a file.
  model.on("msg:custom", ({ text, name }) => save(new Blob([text], { type: "text/plain" }), name))
  draw()
  wait()
  return body
}
