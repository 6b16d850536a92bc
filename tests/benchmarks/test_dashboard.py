"""How long the dashboard takes to answer, in Chromium: `pytest -m benchmark -s tests/benchmarks/test_dashboard.py`.

Each action is done again and again; its time runs from the event in the browser (the button that comes up, the key) to
the first frame in which the answer stands in the page. Beside it stands the same in multiples of an answer that says
nothing (`/healthz`, asked from the same page in the same run). `CC_RAY_LARGE_STORE` names one more store to measure in.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from cc_ray.store import Store
from tests.benchmarks.make_lineage import make_lineage
from tests.benchmarks.make_store import make_store
from tests.dashboards.serving import FLAGS, chromium_path, serving

REPEATS: Final = 20
ENOUGH_S: Final = 20.0
"""After which an action is not repeated any more, however slow it is; three times it always is."""
TABS: Final = 20
MOVING_S: Final = 3.0
SETTLED_S: Final = 45.0
"""After which closed tabs have been let go of."""

_WATCH: Final = """
const within = (root, part) => [root.shadowRoot, root].filter((tree) => tree).flatMap((tree) => [
  ...tree.querySelectorAll(part),
  ...[...tree.querySelectorAll("*")].filter((below) => below.shadowRoot)
    .flatMap((below) => within(below.shadowRoot, part)),
])
window.deep = (selector) => selector.split(", ").flatMap((one) => one.split(" ").reduce(
  (roots, part) => [...new Set(roots.flatMap((root) => within(root, part)))], [document]))
window.seen = (selector) => deep(selector).filter((part) => part.checkVisibility({ visibilityProperty: true }))
window.watch = (event, answered) => {
  window.took_ms = null
  window.addEventListener(event, () => {
    const start = performance.now()
    const look = () => answered() ? requestAnimationFrame(() => { window.took_ms = performance.now() - start })
      : requestAnimationFrame(look)
    look()
  }, { capture: true, once: true })
}
"""
_NOTHING: Final = """
async () => {
  const start = performance.now()
  await (await fetch("./healthz")).text()
  return performance.now() - start
}
"""
_FRAMES: Final = """
(seconds) => {
  window.frames_ms = new Promise((done) => {
    const at = []
    const look = (now) => {
      at.push(now)
      if (now - at[0] < 1000 * seconds) requestAnimationFrame(look)
      else done(at.slice(1).map((time, before) => time - at[before]))
    }
    requestAnimationFrame(look)
  })
}
"""
_PAN: Final = (
    """() => { [...Bokeh.documents[0]._all_models.values()].find((tool) => tool.type === "PanTool").active = true }"""
)
_PAINTED: Final = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""
_DRAWN: Final = """() => seen(".map-card canvas").length && seen(".scatter-card canvas").length && performance.now()"""


@dataclass(frozen=True)
class Action:
    """Something that a user does."""

    name: str
    query: str
    """Address of the page on which it is done."""
    ready: str
    """Selector of what is there before."""
    event: str
    """Event from which the time runs."""
    answered: Callable[[int], str]
    """JavaScript that is true once the answer to the n-th time is there, and false before."""
    do: Callable[[Page, int], None]


def _turn(selector: str, first: str, second: str) -> Callable[[Page, int], None]:
    return lambda page, n: page.locator(selector.format(second if n % 2 else first)).first.click()


def _row(page: Page, n: int) -> None:
    page.locator(".models tbody tr").nth(n).click()


def _drag(card: str, across: bool) -> Callable[[Page, int], None]:
    def do(page: Page, n: int) -> None:
        box = page.locator(card).first.bounding_box()
        assert box
        share = 0.8 if n % 2 else 0.35
        x, y = box["x"] + 2, box["y"] + (box["height"] / 2 if across else 2)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + share * box["width"], y + (0 if across else 0.9 * box["height"]), steps=4)
        page.mouse.up()

    return do


def _search(page: Page, n: int) -> None:
    field = page.locator("input[data-name=search]")
    field.fill(("pruning", "quantization")[n % 2])
    field.press("Enter")


def _choose(name: str, *values: str) -> Callable[[Page, int], None]:
    def do(page: Page, n: int) -> None:
        page.locator(f"select[data-name={name}]").first.select_option(values[n % len(values)])

    return do


def _changes(selector: str) -> Callable[[int], str]:
    """What is seen of a selector is another."""
    now = f'seen("{selector}").map((part) => part.outerHTML).join()'
    return lambda n: (
        f"(() => {{ const before = {now}; return () => {now} !== before && seen('.busy').length === 0 }})()"
    )


def _addressed(n: int) -> str:
    """Another address stands above the page, and nothing is being made any more."""
    now = "location.search"
    return f"(() => {{ const before = {now}; return () => {now} !== before && seen('.busy').length === 0 }})()"


def _there(selector: str, other: str) -> Callable[[int], str]:
    return lambda n: f"() => seen(`{other if n % 2 else selector}`).length > 0 && seen('.busy').length === 0"


TAB = "[role=tab][data-name=layer_view][data-value={}]"
PART = ".tabs [data-choices*={}]"
ACTIONS: Final = (
    Action(
        "Overview: click a row",
        "?side=table",
        ".models tbody tr",
        "click",
        # The row itself is marked before the server has heard of it.
        _addressed,
        _row,
    ),
    Action(
        "Overview: sort the table",
        "?side=table",
        ".models tbody tr",
        "click",
        _changes(".models tbody"),
        _turn(".models th:nth-child({}) .sorting", "2", "3"),
    ),
    Action(
        "Overview: brush the scatterplot",
        "",
        ".scatter-card .bk-CartesianFrame",
        "pointerup",
        _changes(".map-card .bar"),
        _drag(".scatter-card .bk-CartesianFrame", across=False),
    ),
    Action(
        "Overview: brush the map",
        "",
        ".map-card .bk-CartesianFrame",
        "pointerup",
        _changes(".map-card .bar"),
        _drag(".map-card .bk-CartesianFrame", across=False),
    ),
    Action(
        "Overview: brush a histogram",
        "?side=filter&filters=accuracy:..",
        "[data-brush=accuracy]",
        "pointerup",
        _changes(".passed"),
        _drag("[data-brush=accuracy]", across=True),
    ),
    Action("Overview: search", "", "input[data-name=search]", "keyup", _changes(".passed"), _search),
    Action(
        "Overview: another tab",
        "",
        "[data-name=side]",
        "click",
        _there(".models tbody tr", ".brush, [data-do=add-filter]"),
        _turn("[data-name=side][data-value={}]", "table", "filter"),
    ),
    Action(
        "From Overview to Behaviours and back",
        "",
        "nav",
        "click",
        _there(".summary-card tbody tr", ".map-card canvas"),
        _turn("[data-key=nav-{}]", "behaviours", "overview"),
    ),
    Action(
        "Behaviours: classes and slices",
        "?page=behaviours&part=classes",
        "[data-name=grouped]",
        "click",
        _changes("table.classes tbody"),
        _turn("[data-name=grouped][data-value={}]", "slice", "class"),
    ),
    Action(
        "Behaviours: another measure",
        "?page=behaviours&part=classes",
        "select[data-name=measure]",
        "input",
        _changes("table.classes tbody"),
        _choose("measure", "loss", "correct"),
    ),
    Action(
        "Behaviours: another kind of instances",
        "?page=behaviours&part=instances",
        "[data-name=only]",
        "click",
        _changes(".pager span"),
        _turn("[data-name=only][data-value={}]", "all", "lost"),
    ),
    Action(
        "Layers: another view",
        "?page=layers",
        "table.tree",
        "click",
        _there("table.grid", "table.tree"),
        _turn(TAB, "heat", "modules"),
    ),
    Action(
        "Layers: another measure of the heat map",
        "?page=layers&layer_view=heat",
        "table.grid td",
        "input",
        _changes(".heat-card table.grid tbody"),
        _choose("heat", "effective_bits", "sparsity"),
    ),
)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_a_dashboard_answers(tmp_path: Path) -> None:
    for name, root in _stores(tmp_path):
        _say(f"\n{name}")
        with serving(root, tmp_path) as served, _browser() as browser:
            _first_paint(browser, served.url)
            for action in ACTIONS:
                _measure(browser, served.url, action)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_twenty_tabs_at_once(tmp_path: Path) -> None:
    root = make_store(tmp_path / "store", models=65, instances=10_000).root
    with serving(root, tmp_path) as served, _browser() as browser:
        alone = _clicks(_open(browser, served.url))
        before = _replica_mb(served.pid)
        pages = [_open(browser, served.url) for _ in range(TABS)]
        together = [took for page in pages for took in _clicks(page)]
        during = _replica_mb(served.pid)
        for page in pages:
            page.context.close()
        time.sleep(SETTLED_S)
        _say(
            f"{TABS} tabs: a click {_percentiles(together)} (alone {_percentiles(alone)}); replica {before:.0f} MB "
            f"with one, {during:.0f} MB with all ({(during - before) / TABS:.1f} MB a tab), "
            f"{_replica_mb(served.pid):.0f} MB once they are closed"
        )


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_a_map_of_ten_thousand_models_moves(tmp_path: Path) -> None:
    """Milliseconds from frame to frame while the map is moved; what the page took to get there, in bytes."""
    with serving(make_lineage(tmp_path / "store", models=10_000).root, tmp_path) as served, _browser() as browser:
        page, came = browser.new_page(viewport={"width": 1440, "height": 900}), [0]
        page.on("websocket", lambda tab: tab.on("framereceived", lambda frame: came.append(len(frame))))
        page.add_init_script(_WATCH)
        page.goto(served.url)
        page.wait_for_function(_DRAWN, timeout=120_000)
        page.wait_for_timeout(3000)
        _say(f"10,000 models: {sum(came) / 1e6:.1f} MB to the first plots")
        box = page.locator(".map-card .bk-CartesianFrame").first.bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        _moved(page, "at rest", lambda n: None)
        _moved(page, "zoomed", lambda n: page.mouse.wheel(0, -60 if n // 12 % 2 == 0 else 60))
        page.evaluate(_PAN)
        page.mouse.down()
        _moved(page, "panned", lambda n: page.mouse.move(x + 9 * n % 200 - 100, y + 4 * n % 120 - 60))
        page.mouse.up()


def _moved(page: Page, how: str, move: Callable[[int], None]) -> None:
    page.evaluate(_FRAMES, MOVING_S)
    until, moves = time.monotonic() + MOVING_S, 0
    while time.monotonic() < until:
        move(moves)
        page.wait_for_timeout(16)
        moves += 1
    _say(f"  {how}: a frame {_percentiles(page.evaluate('() => frames_ms'))}, {moves} moves in {MOVING_S:g} s")


def _stores(folder: Path) -> Iterator[tuple[str, Path | str]]:
    yield "24 models x 400 instances", make_store(folder / "small", models=24, instances=400).root
    yield "65 models x 10,000 instances", make_store(folder / "middle", models=65, instances=10_000).root
    if large := os.environ.get("CC_RAY_LARGE_STORE"):
        yield f"{len(Store(large).read('models')):,} models", large


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


def _open(browser: Browser, url: str) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(_WATCH)
    page.goto(url)
    page.wait_for_function(_DRAWN, timeout=120_000)
    return page


def _first_paint(browser: Browser, url: str) -> None:
    painted, drawn = [], []
    for _ in range(5):
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.add_init_script(_WATCH)
        page.goto(url)
        drawn.append(float(page.wait_for_function(_DRAWN, timeout=120_000).json_value()))
        painted.append(float(page.evaluate(_PAINTED)))
        page.context.close()
    _say(f"  first paint {_percentiles(painted)}, both plots {_percentiles(drawn)}; the first {drawn[0]:.0f} ms")


def _measure(browser: Browser, url: str, action: Action) -> None:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(_WATCH)
    page.goto(url + action.query)
    page.wait_for_function("(selector) => seen(selector).length > 0", arg=action.ready, timeout=120_000)
    if action.name.startswith(("Overview", "From Overview")):
        # How long the plots take is measured apart; what is done while they are drawn waits for them.
        page.wait_for_function(_DRAWN, timeout=120_000)
    page.wait_for_timeout(1500)
    took: list[float] = []
    until = time.monotonic() + ENOUGH_S
    while len(took) < REPEATS + 2 and (len(took) < 5 or time.monotonic() < until):
        took.append(_time(page, action, len(took)))
    nothing = statistics.median(page.evaluate(_NOTHING) for _ in range(REPEATS))
    times = f"{statistics.median(took[2:]) / nothing:.1f}x an answer without content"
    _say(f"  {action.name}: {_percentiles(took[2:])}, {len(took) - 2} times; {times}")
    page.context.close()


def _time(page: Page, action: Action, n: int) -> float:
    page.evaluate(f"watch({action.event!r}, {action.answered(n)})")
    action.do(page, n)
    took: float = page.wait_for_function("() => took_ms", timeout=60_000).json_value()
    return took


def _clicks(page: Page) -> list[float]:
    page.locator("[data-name=side][data-value=table]").first.click()
    page.wait_for_function("() => seen('.models tbody tr').length > 5", timeout=60_000)
    return [_time(page, ACTIONS[0], n) for n in range(5)]


def _replica_mb(above: int) -> float:
    """Resident memory of the processes that answer, which are below another one."""
    found = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    replicas = [pid for pid in found if "ServeReplica" in _read(pid, "cmdline") and above in _line(pid)]
    return sum(int(_read(pid, "statm").split()[1]) for pid in replicas) * os.sysconf("SC_PAGESIZE") / 1e6


def _line(pid: int) -> list[int]:
    """A process's parents."""
    line = []
    while pid > 1 and (state := _read(pid, "stat")):
        pid = int(state.rpartition(")")[2].split()[1])
        line.append(pid)
    return line


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _percentiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    last = min(len(ordered) - 1, int(0.95 * len(ordered)))
    return f"p50 {statistics.median(ordered):.0f} ms, p95 {ordered[last]:.0f} ms"


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()
