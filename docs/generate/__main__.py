"""`python -m docs.generate`: writes every page that follows from the code."""

from __future__ import annotations

from docs.generate.pages import pages

if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)
