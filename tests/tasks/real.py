"""Real data, weights and figures that are not part of the project; tests on them skip where they are absent."""

from pathlib import Path
from typing import Final

import pytest

REAL: Final = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not REAL.exists(), reason="the real data and weights are not on this machine")
