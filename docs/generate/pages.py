"""Which pages follow from the code, and where they are."""

from __future__ import annotations

from pathlib import Path

from docs.generate import dashboard, metrics
from docs.generate.metrics import ROOT


def pages() -> dict[Path, str]:
    """The text of each, by its file."""
    return {
        ROOT / "docs" / "metrics.md": metrics.page(),
        ROOT / "deploy" / "grafana" / "dashboards" / "postbacks.json": dashboard.page(),
    }
