"""Who may import whom: the table of the design, held."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
GATEWAY_CONTRACTS = {
    "gateway.postback",
    "gateway.rejected",
    "gateway.sms_errors",
    "gateway.submission",
}
CONTRACTS = {
    *GATEWAY_CONTRACTS,
    "streams.auto_response",
    "streams.contact",
    "streams.contact_event",
    "streams.message",
}
MAY_IMPORT = {
    "runtime": set[str](),
    "gateway": {"runtime"},
    "streams": {"runtime", *GATEWAY_CONTRACTS, "sending"},
    "sending": {"runtime", "gateway.sms_errors"},
    "sinks": {"runtime", *CONTRACTS},
    "operations": {"runtime", *CONTRACTS, "gateway.parsing", "streams", "sinks"},
    "embedded": {"runtime"},
    "simulator": {"runtime", *CONTRACTS},
    "cli": {"runtime", "gateway", "streams", "sinks", "operations", "embedded", "simulator", "sending"},
}
OURS = {*MAY_IMPORT, "tests", "benchmarks"}


def imports(file: Path) -> set[str]:
    """The modules of ours that a file imports, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            assert node.module
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] in OURS}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_upstream(package: str) -> None:
    allowed = {package, *MAY_IMPORT[package]}
    for file in (ROOT / package).rglob("*.py"):
        for name in imports(file):
            assert any(f"{name}.".startswith(f"{other}.") for other in allowed), f"{file} imports {name}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_only_entry_points_read_settings(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        if file.name != "__main__.py" and package not in ("runtime", "cli"):
            assert not {"runtime.settings.load_settings", "runtime.settings.Settings"} & imports(file), file
            assert "os.environ" not in file.read_text(), file
