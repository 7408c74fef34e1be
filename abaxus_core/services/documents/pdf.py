"""PDF by typst, in this process: embedded fonts, no network, and bytes that depend on nothing else.

Nothing else imports typst, so that another typesetter could stand here. It works without Python's
lock, and holds memory as described at COMPILATIONS_KEPT.
"""

import ctypes
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
import typst

from abaxus_core.services.documents.view import InvoiceView

COMPILATIONS_KEPT: Final = 11
"""Typst keeps what its last ten compilations computed, some 25 KB a row of an invoice, to be quick
when a document is edited. Ours never is: so many empty ones after each push it out."""

_NOTHING: Final = b""
# Glibc's malloc_trim(3); without it the process grows by some 0.3 MB a document, all of it free.
_return_memory: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


class Printer:
    """`root`: what a template may read, `fonts`: folders of fonts, beside those of typst itself.

    One at a time: a printer is not for two threads.
    """

    def __init__(self, template: bytes, *, root: Path, fonts: tuple[Path, ...]) -> None:
        self._template = template
        self._root = root
        self._font_folders = fonts

    def print(self, view: InvoiceView) -> bytes:
        """Return the PDF; its date is the invoice's. Raises typst.TypstError."""
        given = {"invoice": msgspec.json.encode(view).decode()}
        try:
            return self._compile(self._template, given, int(view.issued_at.timestamp()))
        finally:
            self._forget()

    def _forget(self) -> None:
        for _ in range(COMPILATIONS_KEPT):
            self._compile(_NOTHING, {}, 0)
        if _return_memory is not None:
            _return_memory(0)

    def _compile(self, source: bytes, given: dict[str, str], at_s: int) -> bytes:
        compiler = typst.Compiler(
            source,
            root=self._root,
            font_paths=self._fonts,
            ignore_system_fonts=True,
            sys_inputs=given,
        )
        # Untagged: a reader of screens is served by the HTML, and tags make up most of the bytes.
        pdf = compiler.compile(format="pdf", timestamp=at_s, pdf_tags=False)
        assert isinstance(pdf, bytes), "a PDF is one file"
        return pdf

    @cached_property
    def _fonts(self) -> typst.Fonts:
        return typst.Fonts(include_system_fonts=False, font_paths=list(self._font_folders))
