// A tab whose connection is lost, or was never made, loads again as soon as the dashboard answers: at its address, with
// all choices. It waits longer each time, so that a tab that nothing helps does not keep everybody busy.
(() => {
  const KEY = "cc-ray-reloads"
  const waits = Number(sessionStorage.getItem(KEY)) || 0
  let waiting = false
  const later = (seconds) => setTimeout(again, 1000 * seconds)
  const again = () => fetch("./healthz").then((r) => (r.ok ? window.location.reload() : later(1))).catch(() => later(1))
  window.loadAgain = () => {
    if (waiting) return
    waiting = true
    document.body.classList.add("connection-lost")
    sessionStorage.setItem(KEY, Math.min(waits + 1, 5))
    later(2 ** waits)
  }
  // Bokeh tells of a connection that it lost, but not of one that it never had.
  window.WebSocket = class extends window.WebSocket {
    constructor(...given) {
      super(...given)
      this.addEventListener("close", () => window.Bokeh?.documents?.length || window.loadAgain())
    }
  }
  setTimeout(() => sessionStorage.removeItem(KEY), 60000)
})()
