"""The generated documents and their files."""

from __future__ import annotations

from pathlib import Path

from docs.generate import asyncapi, dashboard, metrics, receipt_codes, schemas, sms_errors
from docs.generate.metrics import ROOT


def pages() -> dict[Path, str]:
    """The text of each document by its file."""
    return {
        ROOT / "docs" / "metrics.md": metrics.page(),
        ROOT / "docs" / "sms-errors.md": sms_errors.page(),
        ROOT / "docs" / "receipt-codes.md": receipt_codes.page(),
        ROOT / "docs" / "asyncapi.yaml": asyncapi.page(),
        **{ROOT / "docs" / "schemas" / f"{topic}.json": schemas.page(topic) for topic in schemas.STRUCT_OF},
        ROOT / "deploy" / "grafana" / "dashboards" / "postbacks.json": dashboard.page(),
    }
