"""Pages that follow from the code are those in the repository: `make docs` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate.metrics import ROOT
from docs.generate.pages import pages

PAGES = pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_says_what_the_code_says(path: Path) -> None:
    assert path.exists(), "make docs"
    assert path.read_text() == PAGES[path], "make docs"
