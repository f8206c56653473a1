"""`python -m docs.generate` (`make docs`): writes every generated document."""

from __future__ import annotations

from docs.generate.pages import pages

if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)
