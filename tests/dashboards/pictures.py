"""Makes the pictures of the README: `python -m tests.dashboards.pictures STORE`, with the store of the demo.

Opens each page in Chromium at 1440 x 900, with /data/cc-ray-store as the store's name, and writes `.github/*.png`.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.dashboards.serving import FLAGS, chromium_path, serving

FOLDER = Path(__file__).parents[2] / ".github"
SIZE = (960, 600)
COLOURS = 256
"""A picture of flat colours needs no more, and is a third as large."""
VIEWS = {
    "overview": ("", ".details table", False),
    "overview-dark": ("", ".details table", True),
    "behaviours": ("?page=behaviours&part=classes", ".heat-body td", False),
    "layers": ("?page=layers&visual=weights", ".tree-card .histogram", False),
    "studies": ("?page=studies", ".report-card canvas", False),
    "sql": (
        "?page=sql&sql=SELECT name, accuracy, size_bytes FROM models JOIN model_metrics USING (model_id) ORDER BY "
        "accuracy DESC",
        "table.answer td",
        False,
    ),
}
"""Address, what is there when it is drawn, and whether it is dark, by name."""


def main(store: str) -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "cc-ray-store"
        link.symlink_to(Path(store).resolve())
        with serving(link, Path(folder)) as served, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            for name, (query, there, dark) in VIEWS.items():
                context = browser.new_context(
                    viewport={"width": 1440, "height": 900}, color_scheme="dark" if dark else "light"
                )
                take(context.new_page(), served.url + query, there, FOLDER / f"{name}.png")
                context.close()
            browser.close()


def take(page: Page, url: str, there: str, path: Path) -> None:
    """One picture."""
    page.goto(url)
    page.locator(there).filter(visible=True).first.wait_for(timeout=60_000)
    page.evaluate("() => { document.querySelector('.store').textContent = '/data/cc-ray-store' }")
    # Figures are drawn a little after their canvas is there.
    page.wait_for_timeout(2_500)
    whole = Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    whole.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
