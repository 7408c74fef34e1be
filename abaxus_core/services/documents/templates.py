"""The templates that documents are made of: ours, but for those an operator's folder replaces.

A replacement has the name of ours. A file that another template includes begins with `_` or lies
in a sub-folder, so that a misspelt name is told from one that is meant.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import jinja2
import jinja2.sandbox

from abaxus_core.services.documents.pdf import Printer
from abaxus_core.services.documents.view import InvoiceView
from abaxus_core.services.documents.words import ENGLISH, Words, read

OURS: Final = Path(__file__).with_name("files")
INVOICE_HTML: Final = "invoice.html.jinja"
INVOICE_STYLE: Final = "invoice.css"
INVOICE_TYPST: Final = "invoice.typ"
MAIL_HTML: Final = "mail.html.jinja"
MAIL_TEXT: Final = "mail.txt.jinja"
WORDS: Final = "words.toml"
FONTS: Final = "fonts"
NAMES: Final = (INVOICE_HTML, INVOICE_STYLE, INVOICE_TYPST, MAIL_HTML, MAIL_TEXT, WORDS)

# Typst fetches packages from afar: `import "@preview/…"`.
_PACKAGE: Final = re.compile(r"""["']@[a-z]""")


class Templates:
    """What is read here is read once: a file that changes counts from the next start on."""

    def __init__(self, folder: Path | None) -> None:
        """Raises ValueError, in a sentence that names the file, for what will not do as it is."""
        self._folders = (OURS,) if folder is None else (folder, OURS)
        self.style: Final = _text(self._path(INVOICE_STYLE))
        self.words: Final = _words(folder)
        self.printer: Final = Printer(
            self._path(INVOICE_TYPST).read_bytes(),
            root=self._folders[0],
            fonts=tuple(path / FONTS for path in self._folders if (path / FONTS).is_dir()),
        )
        self._pages = jinja2.sandbox.ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(self._folders),
            autoescape=jinja2.select_autoescape(("html.jinja",), default=False),
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def render(self, name: str, invoice: InvoiceView, **variables: object) -> str:
        """Return the page or text that a template makes of an invoice."""
        return self._pages.get_template(name).render(invoice=invoice, **variables)

    def page(self, invoice: InvoiceView) -> str:
        """Return the invoice as a page that needs nothing but itself."""
        return self.render(INVOICE_HTML, invoice, style=self.style)

    def _path(self, name: str) -> Path:
        return next(path for folder in self._folders if (path := folder / name).is_file())


def faults_of(folder: Path) -> list[str]:
    """Return what is wrong with an operator's folder before anything is made of it.

    Raises ValueError where a source is no text.
    """
    if not folder.is_dir():
        return ["there is no such folder"]
    strange = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.name not in NAMES and path.name[0] not in "_."
    )
    faults = [f"{name} replaces nothing: there are {', '.join(NAMES)}" for name in strange]
    return [*faults, *_packages(sorted(folder.rglob("*.typ")), folder)]


def _packages(sources: Sequence[Path], folder: Path) -> list[str]:
    return [
        f"{path.relative_to(folder)} imports a package, which would be fetched from the network"
        for path in sources
        if _PACKAGE.search(_text(path))
    ]


def _words(folder: Path | None) -> Words:
    if folder is None or not (folder / WORDS).is_file():
        return ENGLISH
    try:
        return read(folder / WORDS)
    except ValueError as error:
        raise ValueError(f"{WORDS}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8") from error
