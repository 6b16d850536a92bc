// The button for saved comparisons and the panel at the side that it opens. Texts of users are never markup.
export function render({ model, el }) {
  const root = dressed(el)
  const count = make("b", {})
  const button = press("Comparisons ", () => open(), {
    class: "comparisons-button", "aria-haspopup": "dialog", title: "What was saved of this dashboard, with notes",
  })
  button.append(count)
  const list = make("div", { class: "saved-list" })
  const said = make("p", { class: "saved-said", role: "status" })
  const above = make("div", {})
  const shut = press("×", () => dialog.close(), { class: "cross", "aria-label": "Close", title: "Close" })
  const dialog = make("dialog", { class: "saved", "aria-labelledby": "saved-title" },
    make("h2", { id: "saved-title" }, "Comparisons", shut), above, said, list)
  const notice = make("div", { class: "saved-notice", role: "status", popover: "manual" })
  let editing = "", deleting = "", waiting = null

  // Fields for a name and a note; what is done with them goes by Enter in the name, too.
  const form = (id, name, note, label, act, ...more) => {
    const [longestName, longestNote] = model.longest
    const field = make("input", { type: "text", maxlength: longestName, required: "", value: name, id: `${id}-name`,
      placeholder: "e.g. Small enough for the phone", autocomplete: "off" })
    const area = make("textarea", { maxlength: longestNote, rows: 3, id: `${id}-note`,
      placeholder: "What is to be seen, and what follows from it" })
    area.value = note
    const send = make("button", { type: "submit", class: "primary" }, label)
    const held = make("form", { class: "saved-form" },
      make("label", { for: `${id}-name` }, "Name"), field, make("label", { for: `${id}-note` }, "Note"), area,
      make("div", { class: "bar" }, send, ...more))
    held.addEventListener("submit", (event) => {
      event.preventDefault()
      if (!field.value.trim()) return
      send.disabled = true
      said.textContent = "Saving …"
      waiting = () => { send.disabled = false }
      act(field.value, area.value)
    })
    return held
  }

  const when = (at) => new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })
  const facts = (row) => [
    row.user, when(row.at), row.page,
    row.models ? `${row.models.toLocaleString()} model${row.models === 1 ? "" : "s"}${row.gone ? `, ${row.gone} gone` : ""}`
      : "nothing selected",
  ].filter(Boolean).join(" · ")

  const show = (row) => {
    const take = () => { dialog.close(); model.send_msg({ do: "open", id: row.id }) }
    const name = make("h3", {}, press(row.name, take, { class: "link", title: "Open" }))
    if (editing === row.id) {
      const change = (name, note) => model.send_msg({ do: "edit", id: row.id, name, note })
      const back = press("Cancel", () => { editing = ""; draw(); focus(row.id) })
      return make("article", { "data-id": row.id }, form(row.id, row.name, row.note, "Save changes", change, back))
    }
    const link = press("Copy link", () => copy(location.origin + location.pathname + row.query, link, (text) => window.prompt("Copy the link:", text)))
    const actions = [press("Open", take), link]
    if (model.writable) {
      actions.push(press("Edit", () => { editing = row.id; deleting = ""; draw(); root.getElementById(`${row.id}-name`).focus() }))
      actions.push(press("Delete", () => { deleting = row.id; editing = ""; draw(); focus(row.id) }, { class: "delete" }))
    }
    const sure = [
      make("span", {}, "Delete it for everyone?"),
      press("Delete", () => { said.textContent = "Deleting …"; model.send_msg({ do: "delete", id: row.id }) }, { class: "delete" }),
      press("Keep", () => { deleting = ""; draw(); focus(row.id) }),
    ]
    return make("article", { "data-id": row.id }, name, make("p", { class: "soft" }, facts(row)),
      ...(row.note ? [make("p", { class: "note" }, row.note)] : []),
      make("div", { class: "bar" }, ...(deleting === row.id ? sure : actions)))
  }
  const focus = (id) => list.querySelector(`[data-id="${id}"] .bar button`)?.focus()

  const save = () => form("new", "", "", "Save what is on the screen",
    (name, note) => model.send_msg({ do: "save", name, note }))
  const number = () => { count.textContent = model.rows.length ? model.rows.length.toLocaleString() : "" }
  const draw = () => {
    list.replaceChildren(...model.rows.map(show))
    if (!model.rows.length) list.append(make("p", { class: "empty" }, model.writable
      ? "None yet. Select models, arrange the page, and save it under a name: others see it here."
      : "None yet. Who may write can save what is on the screen here."))
  }
  const open = () => {
    said.textContent = ""
    editing = deleting = ""
    above.replaceChildren(...(model.writable ? [save()] : []))
    draw()
    dialog.showModal()
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close() })
  dialog.addEventListener("close", () => button.focus())

  let hiding = 0
  const tell = (text) => {
    notice.textContent = text
    notice.showPopover()
    clearTimeout(hiding)
    hiding = setTimeout(() => notice.matches(":popover-open") && notice.hidePopover(), 10000)
  }
  model.on("told", () => {
    const [, wrong, text] = model.told
    waiting?.()
    waiting = null
    said.textContent = dialog.open ? text : ""
    said.classList.toggle("bad", wrong)
    if (!dialog.open) return text && tell(text)
    if (wrong) return
    // It went well: the fields are done with.
    const last = editing || deleting
    editing = deleting = ""
    above.replaceChildren(...(model.writable ? [save()] : []))
    draw()
    last ? focus(last) ?? shut.focus() : shut.focus()
  })
  model.on("rows", () => {
    number()
    // What is being written or asked stays as it is.
    if (!editing && !deleting) draw()
  })
  number()
  draw()
  return make("div", {}, button, dialog, notice)
}
