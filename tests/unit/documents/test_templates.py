"""An operator's templates: they replace ours by name, and do not get past the start when broken."""

import shutil
from pathlib import Path

import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.services.documents.templates import NAMES, OURS
from tests.support.documents import documents, line, pages_of, subject


def with_templates(folder: Path, **files: str):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return documents(DOCUMENT_TEMPLATES=folder)


def fault_of(folder: Path, **files: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        with_templates(folder, **files)
    (fault,) = refused.value.faults
    return fault


def test_a_template_replaces_ours_and_the_others_stay(tmp_path: Path) -> None:
    own = with_templates(tmp_path, **{"invoice.html.jinja": "<h1>{{ invoice.number }}</h1>"})
    assert own.make_page(subject()).content == b"<h1>INV-000042</h1>"
    assert "Amount due" in own.make_letter(subject()).text
    assert pages_of(own.make_pdf(subject())) == pages_of(documents().make_pdf(subject()))


def test_templates_include_others_and_read_what_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "sign.txt").write_text("Our sign", encoding="utf-8")
    own = with_templates(
        tmp_path,
        **{
            "_sum.jinja": "{{ invoice.total }}",
            "mail.txt.jinja": "Sum: {% include '_sum.jinja' %}",
            "invoice.typ": '#read("/parts/sign.txt") #json(bytes(sys.inputs.invoice)).total',
        },
    )
    assert own.make_letter(subject([line(15775)])).text == "Sum: 157.75 USD"
    assert pages_of(own.make_pdf(subject([line(15775)]))) == ["Our sign 157.75 USD"]


def test_values_are_escaped_in_an_operators_page(tmp_path: Path) -> None:
    own = with_templates(tmp_path, **{"invoice.html.jinja": "{{ invoice.buyer.name }}"})
    assert own.make_page(subject()).content.decode() == "Acme &amp; Söhne"


def test_words_and_style_are_replaced(tmp_path: Path) -> None:
    german = 'invoice = "Rechnung"\namount_due = "Zu zahlen: {amount}"\nsubject_from = "{seller}"\n'
    own = with_templates(tmp_path, **{"words.toml": german, "invoice.css": "body { color: red }"})
    page = own.make_page(subject()).content.decode()
    assert "<h1>Rechnung</h1>" in page
    assert "<style>body { color: red }</style>" in page
    letter = own.make_letter(subject())
    assert letter.subject == "Seller GmbH"
    assert "Zu zahlen: 1.00 USD" in letter.text
    assert "Rechnung" in pages_of(own.make_pdf(subject()))[0]


def test_fonts_are_added(tmp_path: Path) -> None:
    (tmp_path / "fonts").mkdir()
    shutil.copy(OURS / "fonts" / "Inter-Regular.otf", tmp_path / "fonts")
    own = with_templates(tmp_path)
    assert own.make_pdf(subject()) == documents().make_pdf(subject())


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("invoice.html.jinja", "{% if %}", "invoice.html.jinja, line 1: Expected an expression"),
        ("mail.txt.jinja", "\n{{ invoice.nubmer }}", "mail.txt.jinja, line 2: "),
        ("mail.html.jinja", "{{ ''.__class__.__mro__ }}", "mail.html.jinja, line 1: access to"),
        ("mail.html.jinja", "{% include 'gone' %}", "mail.html.jinja, line 1: 'gone' not found"),
        ("invoice.typ", "#panic()", "invoice.typ: "),
        ("invoice.typ", '#read("../secret")', "invoice.typ: "),
        ("invoice.typ", '#import "@preview/tablex:0.0.8"', "would be fetched from the network"),
        ("words.toml", "invoice = 7", "words.toml: "),
        ("words.toml", 'invoise = "x"', "words.toml: Object contains unknown field `invoise`"),
        ("words.toml", "not toml", "words.toml: "),
        (
            "words.toml",
            'total = "{amount}"',
            "words.toml: total names {amount}; it may name nothing",
        ),
        ("words.toml", 'tier = "{tier.x}"', "words.toml: tier names {tier.x}; it may name {tier}"),
        ("words.toml", 'tier = "{tier"', "words.toml: "),
        ("words.toml", 'subject = "a\\nBcc: b"', "words.toml: subject must be printable"),
        ("invoce.typ", "", "invoce.typ replaces nothing: there are "),
    ],
)
def test_a_broken_one_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    fault = fault_of(tmp_path, **{name: text})
    assert fault.startswith("DOCUMENT_TEMPLATES: ")
    assert told in fault
    assert "\n" not in fault


@pytest.mark.parametrize("name", ["invoice.css", "invoice.typ", "words.toml", "mail.txt.jinja"])
def test_what_is_no_text_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe")
    assert fault_of(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        documents(DOCUMENT_TEMPLATES=tmp_path / "gone")
    assert refused.value.faults == ["DOCUMENT_TEMPLATES: there is no such folder"]


def test_every_name_is_ours_too() -> None:
    assert {path.name for path in OURS.iterdir() if path.is_file()} | {"words.toml"} == set(NAMES)


@pytest.mark.parametrize("locale", ["xx_nowhere", "english", "12", "de/../../x"])
def test_a_locale_that_is_none_is_told(locale: str) -> None:
    with pytest.raises(ConfigurationError, match="DOCUMENT_LOCALE: must be a locale"):
        documents(DOCUMENT_LOCALE=locale)
