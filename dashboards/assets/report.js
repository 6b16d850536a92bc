// What a report does by itself: tables sort, pictures are shown large, words and marks are explained (keys.js), the
// section in sight is marked, and a model that is pointed at in the text is ringed in the plots.
const REACH = 7

function value(row, column) {
  const text = row.cells[column].dataset.value
  return text === undefined ? null : isNaN(text) ? text : Number(text)
}

// The largest first, then the least; what has no value comes last.
function sort(button) {
  const head = button.closest("th"), body = button.closest("table").tBodies[0]
  const falling = head.getAttribute("aria-sort") !== "descending"
  const column = Number(button.dataset.sort)
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [value(one, column), value(other, column)]
    if (a === null || b === null) return (a === null) - (b === null)
    return (a < b ? -1 : a > b ? 1 : 0) * (falling ? -1 : 1)
  })
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort")
  head.setAttribute("aria-sort", falling ? "descending" : "ascending")
  body.append(...rows)
}

function ring(id) {
  const shown = window.Bokeh?.documents[0]
  for (const name of ["map", "trade-offs"]) {
    const models = shown?.get_model_by_name(`models of ${name}`)
    if (!models) continue
    const { data } = models
    const mark = shown.get_model_by_name(`ring of ${name}`), [x, y] = mark.tags
    const place = [...data.model_id].indexOf(id)
    const at = (column) => place < 0 ? [] : [data[column][place]]
    mark.data = { x: at(x), y: at(y), size: at("size").map((size) => size + REACH) }
  }
}

function light(id) {
  for (const lit of document.querySelectorAll(".lit")) if (lit.dataset.of !== id) lit.classList.remove("lit")
  if (id) for (const same of document.querySelectorAll(`[data-of="${CSS.escape(id)}"]`)) same.classList.add("lit")
}

function watch() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]))
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue
      for (const link of links.values()) link.removeAttribute("aria-current")
      links.get(target.id)?.setAttribute("aria-current", "true")
    }
  }, { rootMargin: "-20% 0px -70% 0px" })
  for (const section of document.querySelectorAll("main > section")) seen.observe(section)
}

// Plots are there a little after the page.
const painter = new Painter(PAINTS)
function paint() {
  const [doc] = window.Bokeh?.documents ?? []
  if (doc) painter.follow(doc)
  else setTimeout(paint, 50)
}

// Plots keep the width that they have on the screen; pictures of them fit the paper, which is light.
function picture() {
  const models = held(Bokeh.documents[0])
  painter.paintAll(models, false)
  for (const image of document.querySelectorAll(".stage > img")) {
    const view = Bokeh.index.get_by_id(image.parentElement.querySelector("[data-root-id]").dataset.rootId)
    if (view) image.src = view.export("png").canvas.toDataURL()
  }
  painter.paintAll(models)
}

tips(document.body, document.body)
walk(document.body, () => {})
document.addEventListener("keydown", lead)
document.addEventListener("click", (event) => {
  event.target.closest("[data-zoom]")?.closest("figure")?.classList.toggle("large")
  const head = event.target.closest(".sortable .sorting")
  if (head) sort(head)
})
let pointed = ""
document.addEventListener("mouseover", (event) => {
  light(event.target.closest("[data-of]")?.dataset.of ?? "")
  const id = event.target.closest("[data-point]")?.dataset.point ?? ""
  if (id !== pointed) ring(id)
  pointed = id
})
watch()
paint()
addEventListener("beforeprint", picture)
