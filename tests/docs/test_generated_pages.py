"""Generated pages are up to date; `make docs` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate.metrics import ROOT
from docs.generate.pages import pages

PAGES = pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_page_is_current(path: Path) -> None:
    assert path.exists(), "make docs"
    assert path.read_text() == PAGES[path], "make docs"
