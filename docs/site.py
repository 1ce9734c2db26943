"""What `mkdocs build` does besides the pages of docs/ (a hook of mkdocs.yml).

The README and other pages from outside docs/ get a place in the site, links to source files lead to copies of them, a
page lists every setting with its meaning, every room of slick_jax has a page of its docstrings, and formulas (```math)
become MathML, which browsers draw by themselves.
"""

import ast
import os
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

from slick_jax.settings.setting_docs import settings

ROOT = Path(__file__).parents[1]
PAGES = {  # from outside docs/: where they are in the site
    "README.md": "index.md",
    "launch/README.md": "launch.md",
    "benchmarks/RESULTS.md": "lab_book.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?\)")


def rooms() -> list[str]:
    """Folders of slick_jax that are Python packages."""
    return sorted(path.parent.name for path in ROOT.glob("slick_jax/*/__init__.py"))


def on_config(config):
    """The modules at the end of the navigation."""
    config.nav.append({"Modules": [f"modules/{name}.md" for name in ("slick_jax", *rooms())]})
    return config


def on_files(files, config):
    """Adds what does not lie in docs/."""
    for path, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text("utf-8")))
    files.append(File.generated(config, "settings.md", content=settings_page()))
    for name in ("slick_jax", *rooms()):
        files.append(File.generated(config, f"modules/{name}.md", content=modules_page(name)))
    shown = [file for file in files if file.is_documentation_page()]
    for path in sorted({target for file in shown for target in _copied(file.content_string, file.src_uri)}):
        files.append(File.generated(config, _copy(path), content=(ROOT / path).read_text("utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links as they are in the site, formulas as MathML."""

    def link(found):
        path = _target(page.file.src_uri, found[2])
        place = PAGES.get(path) or (path.removeprefix("docs/") if _in_site(path) else _copy(path))
        return f"{found[1]}{posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or '.')}{found[3] or ''})"

    parts = FENCE.split(markdown)
    return "".join(_formula(part) if part.startswith("```") else LINK.sub(link, part) for part in parts)


def _formula(block):
    if not block.startswith("```math\n"):
        return block
    formula = block.removeprefix("```math\n").removesuffix("```").strip()
    return f"<div>{convert(formula, display='block')}</div>"


def _target(src_uri, link):
    """The file in the repository that a page of the site links to."""
    origin = next((path for path, place in PAGES.items() if place == src_uri), f"docs/{src_uri}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _copied(text, src_uri):
    """Files that a page links to and that are no pages of the site."""
    for part in FENCE.split(text)[::2]:
        for found in LINK.finditer(part):
            path = _target(src_uri, found[2])
            if path not in PAGES and not _in_site(path) and os.path.isfile(ROOT / path):
                yield path


def _in_site(path):
    return path.startswith("docs/") and not path.endswith(".py")


def _copy(path):
    return f"files/{path}.txt"  # browsers show it, whatever its language


def modules_page(name):
    """A page of the docstrings of a room, or of the modules beside the rooms."""
    folder = ROOT / "slick_jax" / ("" if name == "slick_jax" else name)
    place = "slick_jax" if name == "slick_jax" else f"slick_jax.{name}"
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    about = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    lines = ["---", "search: {boost: 0.5}  # behind the pages that explain", "---", f"# {place}", "", about, ""]
    return "\n".join([*lines, *(f"::: {place}.{module}\n" for module in modules)])


def settings_page() -> str:
    """Every setting with its default and meaning, a section a group."""
    lines = ["# Settings", "", "Give them in a config file (`c.annotate.mode = \"labels\"`) or on the command line"]
    lines += ["(`--config.annotate.mode=labels`). A default in brackets is a list; give its items with commas."]
    group = None
    for one in settings().values():
        if one.name.rpartition(".")[0] != group:
            group = one.name.rpartition(".")[0]
            lines += ["", f"## {group or 'The run'}", "", "| setting | default | meaning |", "| --- | --- | --- |"]
        default, meaning = (text.replace("|", "\\|") for text in (repr(one.default), one.meaning))
        lines.append(f"| `{one.name}` | `{default}` | {meaning.replace('<', '&lt;')} |")
    return "\n".join([*lines, ""])
