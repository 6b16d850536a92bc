// Figures are drawn in the colours of light ground; where the page is dark, they are repainted here.
const system = matchMedia("(prefers-color-scheme: dark)")
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark"

// All models of a document.
const held = (doc) => doc.roots().flatMap((one) => [...one.references()])

// Repaints models of Bokeh. What Python sent is kept beside, so that nothing is lost on the way back; what is painted is
// never reported to Python, which need not know how a tab looks.
class Painter {
  constructor(paints) {
    this.paints = paints
    this.sent = new WeakMap()
    this.busy = false
  }

  colour(value) {
    return this.paints[value] ?? value
  }

  // A colour, a list of colours, or what a property of a glyph holds.
  painted(value) {
    if (typeof value === "string") return this.colour(value)
    if (Array.isArray(value)) return value.map((one) => this.colour(one))
    if (typeof value?.value === "string") return { ...value, value: this.colour(value.value) }
    return value
  }

  columns(data) {
    const isColour = (column) => /^#[0-9a-f]{6}$/.test(column?.[0])
    const names = Object.keys(data).filter((name) => isColour(data[name]))
    if (!names.length) return data
    return { ...data, ...Object.fromEntries(names.map((name) => [name, Array.from(data[name], (one) => this.colour(one))])) }
  }

  paint(model, dark) {
    const given = this.sent.get(model) ?? {}
    const changes = {}
    for (const { attr } of model) {
      const isData = attr === "data" && model.type === "ColumnDataSource"
      if (!isData && !/(_color|^palette)$/.test(attr)) continue
      const present = model[attr]
      // What is neither as it was painted nor as it was sent is new.
      if (given[attr]?.painted !== present) given[attr] = { sent: present, painted: present }
      const wanted = !dark ? given[attr].sent : isData ? this.columns(given[attr].sent) : this.painted(given[attr].sent)
      if (wanted !== present) changes[attr] = wanted
    }
    if (Object.keys(changes).length) {
      this.busy = true
      model.setv(changes, { sync: false })
      this.busy = false
      for (const attr of Object.keys(changes)) given[attr].painted = model[attr]
    }
    this.sent.set(model, given)
  }

  paintAll(models, dark = isDark()) {
    for (const model of models) this.paint(model, dark)
  }

  follow(doc) {
    const all = () => held(doc)
    this.paintAll(all())
    doc.on_change((event) => {
      if (this.busy || event.kind !== "ModelChanged" || !isDark()) return
      const { model, attr, value } = event
      if (attr === "data" || attr.endsWith("_color")) this.paint(model, true)
      const added = [value].flat().filter((one) => typeof one?.references === "function")
      for (const one of added) this.paintAll(one.references())
    })
    const turn = () => this.paintAll(all())
    system.addEventListener("change", turn)
    new MutationObserver(turn).observe(document.documentElement, { attributeFilter: ["data-theme"] })
  }
}
