"""Hooks of mkdocs: files from elsewhere become pages, and links lead to them; the table of Request."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ELSEWHERE = {
    "flowmusic/assets/default/README.md": "model-card.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository, and the names of their pages."""

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
_FIELDS = "<!-- fields of Request: filled in by tools/docs_hooks.py -->"
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    root = Path(config.config_file_path).parent
    for source, name in ELSEWHERE.items():
        text = _FRONT_MATTER.sub("", (root / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files lead to their pages; on a page from elsewhere, other links become text."""
    if _FIELDS in markdown:
        markdown = markdown.replace(_FIELDS, request_table())
    name = page.file.src_uri
    source = {page: source for source, page in ELSEWHERE.items()}.get(name)
    folder = posixpath.dirname(source or f"docs/{name}")

    def led(link: re.Match[str]) -> str:
        text, path, anchor = link[1], link[2], link[3] or ""
        target = posixpath.normpath(posixpath.join(folder, path))
        if target in ELSEWHERE or target.startswith("docs/"):
            return f"[{text}]({ELSEWHERE.get(target, target.removeprefix('docs/'))}{anchor})"
        return text if source else link[0]

    return _LINK.sub(led, markdown)


def request_table() -> str:
    """The fields of Request as a markdown table: name, what is expected, default, description."""
    from flowmusic.api.request import REQUEST_FIELDS, expected

    lines = ["| field | value | default | |", "| --- | --- | --- | --- |"]
    for name, field in REQUEST_FIELDS.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        description = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {expected(name)} | {default} | {description} |")
    return "\n".join(lines)
