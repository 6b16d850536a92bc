// Whole answers as files, asked of the API however many pages they take.
const PAGE = 100000, LEAST = 500

// An address of the API of the store that the page shows.
const api = (path) => `${document.querySelector("meta[name=cc-ray-api]")?.content ?? "./api/"}v1/${path}`

async function refusal(answer) {
  return new Error((await answer.json().catch(() => ({}))).detail ?? `The file could not be made (${answer.status}).`)
}

// An answer of the API in one file; gives the number of rows. Pages that are too large are asked for in smaller ones.
async function fileOfQuestion(address, format, name, say) {
  const parts = []
  let limit = format === "csv" ? PAGE / 10 : PAGE, offset = 0, total = 1
  while (offset < total) {
    const sign = address.includes("?") ? "&" : "?"
    const answer = await fetch(`${api(address)}${sign}format=${format}&limit=${limit}&offset=${offset}`)
    if (answer.status === 413 && format === "csv" && limit > LEAST) {
      limit = Math.floor(limit / 4)
      continue
    }
    if (!answer.ok) throw await refusal(answer)
    total = Number(answer.headers.get("cc-ray-total"))
    const part = await answer.blob()
    // The line of names stands once.
    parts.push(parts.length ? (await part.text()).replace(/^.*\n/, "") : part)
    offset += limit
    if (format !== "csv") break
    if (offset < total) say(`${offset.toLocaleString()} of ${total.toLocaleString()} rows …`)
  }
  save(new Blob(parts, { type: parts[0].type }), `${name}.${format}`)
  return { rows: Math.min(total, offset), more: offset < total }
}

// An answer to SQL in one file.
async function fileOfSql(query, format, name, limit) {
  const body = JSON.stringify({ query, format, limit })
  const answer = await fetch(api("sql"), { method: "POST", headers: { "Content-Type": "application/json" }, body })
  if (!answer.ok) throw await refusal(answer)
  save(await answer.blob(), `${name}.${format}`)
  return { rows: answer.headers.get("cc-ray-rows"), more: answer.headers.get("cc-ray-truncated") === "true" }
}
