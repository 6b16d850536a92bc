// A part of the page as SVG made of plain shapes and texts, which every program can read. What is scrolled away is in it,
// what is only there to be clicked is not.
const NOT_DRAWN = "select, input, textarea, dialog, [popover], nav, .field, .switch, .tabs, .pager, .actions, .hint, " +
  ".sign, .corner, .toggle, .menu, .info, .meaning, .rank, .cross, .bar button, summary"
const NS = "http://www.w3.org/2000/svg"
const MARGIN = 12
const OF_SHAPES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity",
  "stroke-linecap", "stroke-linejoin", "font-family", "font-size", "font-weight", "text-anchor", "visibility",
  "vector-effect", "display"]

const shape = (name, attributes, ...children) => {
  const element = document.createElementNS(NS, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}
const isSeen = (colour) => colour && colour !== "transparent" && !/, 0\)$|\/ 0\)$/.test(colour)
const meet = (a, b) => {
  const left = Math.max(a.left, b.left), top = Math.max(a.top, b.top)
  return { left, top, right: Math.min(a.right, b.right), bottom: Math.min(a.bottom, b.bottom) }
}
const EVERYWHERE = { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity }

class Drawing {
  constructor() {
    this.root = shape("svg", { xmlns: NS })
    this.edges = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity }
    this.pen = document.createElement("canvas").getContext("2d")
    this.gradients = 0
    this.hatches = new Map()
    this.figures = new Map(figures().map((view) => [view.el, view]))
  }

  put(element, rect) {
    this.root.append(element)
    const { edges } = this
    edges.left = Math.min(edges.left, rect.left)
    edges.top = Math.min(edges.top, rect.top)
    edges.right = Math.max(edges.right, rect.right)
    edges.bottom = Math.max(edges.bottom, rect.bottom)
  }

  draw(element, clip) {
    if (element.matches(".long")) return this.choice(element.querySelector("select"))
    // What a closed part holds has a place nevertheless.
    if (element.matches(NOT_DRAWN) || element.matches("details:not([open])")) return
    const style = getComputedStyle(element), rect = element.getBoundingClientRect()
    if (style.display === "none" || style.visibility === "hidden" || style.opacity === "0") return
    if (this.figures.has(element)) return this.figure(this.figures.get(element), rect)
    if (element instanceof SVGSVGElement) return this.svg(element, rect)
    if (element instanceof HTMLImageElement) return this.image(element, rect)
    if (style.display !== "contents") {
      this.box(style, rect, clip)
      this.line(getComputedStyle(element, "::before"), rect)
    }
    const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY)
    const inside = scrolls ? EVERYWHERE : /hidden|clip/.test(style.overflowX) && rect.width ? meet(clip, rect) : clip
    const held = element.shadowRoot ?? element
    for (const child of held instanceof HTMLSlotElement ? held.assignedNodes() : held.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) this.text(child, style, inside)
      else if (child.nodeType === Node.ELEMENT_NODE) this.draw(child, inside)
    }
  }

  box(style, rect, clip) {
    const at = meet(rect, clip), width = at.right - at.left, height = at.bottom - at.top
    if (width <= 0 || height <= 0) return
    const image = style.backgroundImage
    const paint = this.gradient(image) ?? this.hatch(image) ?? (isSeen(style.backgroundColor) ? style.backgroundColor : null)
    const around = ["Top", "Right", "Bottom", "Left"].map((side) =>
      style[`border${side}Style`] === "none" || !isSeen(style[`border${side}Color`]) ? 0 : parseFloat(style[`border${side}Width`]))
    const alike = around.every((each) => each === around[0])
    const radius = Math.min(parseFloat(style.borderTopLeftRadius) * (style.borderTopLeftRadius.endsWith("%") ? width / 100 : 1) || 0, width / 2)
    if (paint || (alike && around[0])) {
      const half = alike ? around[0] / 2 : 0
      this.put(shape("rect", {
        x: at.left + half, y: at.top + half, width: Math.max(0, width - 2 * half), height: Math.max(0, height - 2 * half),
        rx: radius, fill: paint ?? "none", opacity: style.opacity,
        ...(alike && around[0] ? { stroke: style.borderTopColor, "stroke-width": around[0] } : {}),
      }), at)
    }
    if (alike) return
    const ends = { Top: [0, 0, 1, 0], Right: [1, 0, 1, 1], Bottom: [0, 1, 1, 1], Left: [0, 0, 0, 1] }
    Object.entries(ends).forEach(([side, [x1, y1, x2, y2]], place) => {
      if (!around[place]) return
      const x = (share) => at.left + share * width, y = (share) => at.top + share * height
      const dashed = style[`border${side}Style`] === "dashed" || style[`border${side}Style`] === "dotted"
      this.put(shape("line", {
        x1: x(x1), y1: y(y1), x2: x(x2), y2: y(y2), stroke: style[`border${side}Color`], "stroke-width": around[place],
        ...(dashed ? { "stroke-dasharray": "3 2" } : {}),
      }), at)
    })
  }

  // A mark that the stylesheet draws before an element's content, such as the line of an axis.
  line(style, rect) {
    if (style.content !== '""' || style.position !== "absolute") return
    const left = rect.left + parseFloat(style.left), top = rect.top + parseFloat(style.top)
    const width = parseFloat(style.width), height = parseFloat(style.height)
    const down = parseFloat(style.borderTopWidth) + parseFloat(style.borderBottomWidth)
    this.box(style, { left, top, right: left + width, bottom: top + Math.max(height, down) }, EVERYWHERE)
  }

  gradient(image) {
    const found = /^linear-gradient\((\d+)deg, (.*)\)$/.exec(image)
    if (!found) return null
    const colours = found[2].match(/rgba?\([^)]*\)[^,]*/g) ?? []
    const stops = colours.map((colour, place) => {
      const [, paint, at] = /^(rgba?\([^)]*\))\s*([\d.]+%)?/.exec(colour)
      return shape("stop", { offset: at ?? `${(100 * place) / Math.max(1, colours.length - 1)}%`, "stop-color": paint })
    })
    const id = `ramp-${this.gradients++}`
    const upright = found[1] === "180" || found[1] === "0"
    this.root.append(shape("defs", {}, shape("linearGradient", { id, x2: upright ? 0 : 1, y2: upright ? 1 : 0 }, ...stops)))
    return `url(#${id})`
  }

  // Stripes, as they stand for what has no value.
  hatch(image) {
    const paint = image.startsWith("repeating-linear-gradient") && image.match(/rgba?\([^)]*\)/g)?.find(isSeen)
    if (!paint) return null
    if (!this.hatches.has(paint)) {
      const id = `hatch-${this.hatches.size}`
      const stripe = shape("line", { x1: 1, y1: 0, x2: 1, y2: 5, stroke: paint, "stroke-width": 2 })
      const look = { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }
      this.root.append(shape("defs", {}, shape("pattern", look, stripe)))
      this.hatches.set(paint, `url(#${id})`)
    }
    return this.hatches.get(paint)
  }

  // The model that a heading names by what is chosen there.
  choice(select) {
    const style = getComputedStyle(select), words = select.selectedOptions[0]?.label
    if (words) this.words(words, select.getBoundingClientRect(), style, false)
  }

  text(node, style, clip) {
    if (!node.data.trim()) return
    const turned = style.writingMode !== "horizontal-tb" && isTurned(node.parentElement)
    for (const { words, rect } of lines(node)) {
      if (rect.top >= clip.bottom - 1 || rect.left >= clip.right - 1 || rect.bottom <= clip.top) continue
      const cut = rect.right > clip.right + 1 ? shortened(words, (clip.right - rect.left) / rect.width) : words
      this.words(style.textTransform === "uppercase" ? cut.toUpperCase() : cut, rect, style, cut === words, turned)
    }
  }

  words(words, rect, style, whole, turned = false) {
    this.pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`
    const upright = style.writingMode === "horizontal-tb"
    if (whole) words = this.spaced(words, upright ? rect.width : rect.height)
    const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = this.pen.measureText(words)
    // The middle of the line, wherever its box is taller than the letters.
    const rise = ((upright ? rect.height : rect.width) - up - down) / 2 + up
    const [x, y, angle] = upright ? [rect.left, rect.top + rise, 0]
      : turned ? [rect.left + rise, rect.bottom, -90] : [rect.right - rise, rect.top, 90]
    const text = shape("text", {
      x, y, fill: style.color, "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight,
      "font-style": style.fontStyle, opacity: style.opacity, "xml:space": "preserve",
      ...(angle ? { transform: `rotate(${angle} ${x} ${y})` } : {}),
      ...(whole ? { textLength: upright ? rect.width : rect.height, lengthAdjust: "spacingAndGlyphs" } : {}),
    })
    text.textContent = words
    this.put(text, rect)
  }

  // Spaces at the ends stand on the screen only beside other texts: how wide the text is tells.
  spaced(words, width) {
    const bare = words.trim()
    const ways = [bare, words.trimStart(), words.trimEnd(), words]
    const off = (way) => Math.abs(this.pen.measureText(way).width - width)
    return ways.reduce((best, way) => (off(way) < off(best) - 0.5 ? way : best))
  }

  image(element, rect) {
    if (!element.complete || !element.src.startsWith("data:")) return
    const { left: x, top: y, width, height } = rect
    const pixels = getComputedStyle(element).imageRendering
    this.put(shape("image", { x, y, width, height, href: element.src, style: `image-rendering: ${pixels}` }), rect)
  }

  svg(element, rect) {
    const copy = element.cloneNode(true)
    const originals = [element, ...element.querySelectorAll("*")], copies = [copy, ...copy.querySelectorAll("*")]
    originals.forEach((original, place) => {
      const style = getComputedStyle(original)
      for (const name of OF_SHAPES) copies[place].setAttribute(name, style.getPropertyValue(name))
      for (const name of ["class", "style"]) copies[place].removeAttribute(name)
    })
    // Of HTML, which no other program knows.
    for (const name of originals[0].getAttributeNames()) if (name.startsWith("data-")) copy.removeAttribute(name)
    const { left: x, top: y, width, height } = rect
    for (const [name, value] of Object.entries({ x, y, width, height })) copy.setAttribute(name, value)
    copy.setAttribute("display", "inline")
    copy.setAttribute("overflow", "visible")
    this.put(copy, rect)
  }

  figure(view, rect) {
    const drawn = view.export("svg", false).canvas
    const { left: x, top: y, width, height } = rect
    for (const [name, value] of Object.entries({ x, y, width, height })) drawn.setAttribute(name, value)
    this.put(drawn, rect)
  }

  finished(ground) {
    const { left, top, right, bottom } = this.edges
    const [x, y, width, height] = [left - MARGIN, top - MARGIN, right - left + 2 * MARGIN, bottom - top + 2 * MARGIN].map(Math.round)
    for (const [name, value] of Object.entries({ width, height, viewBox: `${x} ${y} ${width} ${height}` })) {
      this.root.setAttribute(name, value)
    }
    this.root.prepend(shape("rect", { x, y, width, height, fill: ground }))
    return { svg: new XMLSerializer().serializeToString(this.root), width, height }
  }
}

// Whether a text stands on its head with what it is in: upright writing that is read upwards.
function isTurned(element) {
  for (let at = element; at; at = at.parentElement) {
    if (getComputedStyle(at).transform.startsWith("matrix(-1")) return true
  }
  return false
}

// Bokeh's views of figures on this page.
function figures() {
  const found = [], seen = new Set()
  const visit = (view) => {
    if (!view || seen.has(view)) return
    seen.add(view)
    if (view.model?.type === "Figure" || view.model?.type === "Plot") found.push(view)
    else for (const child of view.child_views ?? []) visit(child)
  }
  for (const root of Object.values(window.Bokeh?.index ?? {})) visit(root)
  return found
}

// A text as it stands on the screen, line by line.
function lines(node) {
  const range = document.createRange()
  range.selectNodeContents(node)
  const whole = range.getClientRects()
  const tidy = (text) => text.replace(/\s+/g, " ")
  if (whole.length === 1) return [{ words: tidy(node.data), rect: whole[0] }]
  const found = []
  for (let at = 0; at < node.length; at++) {
    range.setStart(node, at)
    range.setEnd(node, at + 1)
    const rect = range.getClientRects()[0]
    if (!rect || (!rect.width && !rect.height)) continue
    const line = found.at(-1)
    if (line && Math.abs(line.top - rect.top) < 2) {
      line.words += node.data[at]
      line.right = Math.max(line.right, rect.right)
    } else found.push({ words: node.data[at], left: rect.left, top: rect.top, right: rect.right, bottom: rect.bottom })
  }
  return found.filter(({ words }) => words.trim()).map(({ words, left, top, right, bottom }) => (
    { words: tidy(words), rect: new DOMRect(left, top, right - left, bottom - top) }))
}

const shortened = (words, share) => `${words.slice(0, Math.max(1, Math.floor(words.length * share) - 1))}…`

// The SVG of a card with its size in pixels; null where it shows nothing to draw.
function picture(card) {
  const scrolled = []
  const top = (element) => {
    if (element.scrollTop || element.scrollLeft) {
      scrolled.push([element, element.scrollLeft, element.scrollTop])
      element.scrollTo(0, 0)
    }
    for (const child of [...(element.shadowRoot?.children ?? []), ...element.children]) top(child)
  }
  top(card)
  try {
    const drawing = new Drawing(), ground = getComputedStyle(card).backgroundColor
    for (const child of (card.shadowRoot ?? card).children) drawing.draw(child, EVERYWHERE)
    return drawing.edges.right > drawing.edges.left ? drawing.finished(isSeen(ground) ? ground : "#ffffff") : null
  } finally {
    for (const [element, left, above] of scrolled) element.scrollTo(left, above)
  }
}

const SHARP = 2

async function asPng({ svg, width, height }) {
  const image = new Image()
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`
  await image.decode()
  // Browsers draw no canvas that is larger than this.
  const scale = Math.min(SHARP, 16000 / width, 16000 / height)
  const canvas = document.createElement("canvas")
  canvas.width = Math.round(width * scale)
  canvas.height = Math.round(height * scale)
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height)
  return new Promise((done) => canvas.toBlob(done, "image/png"))
}
