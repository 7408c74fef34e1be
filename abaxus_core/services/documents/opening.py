"""Documents as the settings want them; templates that do not work stop the start."""

from pathlib import Path
from typing import Final

import jinja2
import typst

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel.config import Settings
from abaxus_core.services.documents import samples
from abaxus_core.services.documents.figures import Figures
from abaxus_core.services.documents.making import ROWS_MAX, Documents
from abaxus_core.services.documents.press import Press
from abaxus_core.services.documents.templates import INVOICE_TYPST, Templates, faults_of
from abaxus_core.services.documents.view import Manner

FAULT_LENGTH_MAX: Final = 300


def documents_of(settings: Settings, press: Press) -> Documents:
    """Return the process's documents, the operator's templates tried out on samples.

    Raises ConfigurationError naming the file.
    """
    folder = settings.document_templates
    templates = _templates(folder)
    documents = Documents(templates, _manner(settings, templates), press)
    if folder is not None:
        _try_out(documents, with_pdf=(folder / INVOICE_TYPST).is_file())
    return documents


def _templates(folder: Path | None) -> Templates:
    try:
        faults = [] if folder is None else faults_of(folder)
        if not faults:
            return Templates(folder)
    except (OSError, ValueError) as error:
        faults = [str(error)]
    raise _fault(*faults)


def _manner(settings: Settings, templates: Templates) -> Manner:
    return Manner(
        words=templates.words,
        figures=Figures(settings.document_locale),
        rows_max=ROWS_MAX,
    )


def _try_out(documents: Documents, *, with_pdf: bool) -> None:
    for sample in (samples.FULL, samples.BARE):
        try:
            documents.make_page(sample)
            documents.make_letter(sample)
            if with_pdf:
                documents.make_pdf(sample)
        except jinja2.TemplateSyntaxError as error:
            raise _fault(f"{error.name}, line {error.lineno}: {error.message}") from error
        except typst.TypstError as error:
            raise _fault(f"{INVOICE_TYPST}: {error.diagnostic or error.message}") from error
        except Exception as error:  # whatever a template may raise
            raise _fault(f"{_template_of(error)}: {error}") from error


def _template_of(error: Exception) -> str:
    """The file and line of the innermost template that raised, out of jinja2's traceback."""
    place, trace = "a template", error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.suffix == ".jinja":
            place = f"{path.name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _fault(*sentences: str) -> ConfigurationError:
    return ConfigurationError(
        [f"DOCUMENT_TEMPLATES: {' '.join(one.split())[:FAULT_LENGTH_MAX]}" for one in sentences]
    )
