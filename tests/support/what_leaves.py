"""Writes docs/what-leaves-your-network.md from what the plugins that come with ABAXUS declare.

    python -m tests.support.what_leaves

`CONFIGURED` has settings for every host that a plugin can be told to use.
"""

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from abaxus_core.kernel import plugin_manager
from abaxus_core.kernel.plugin_manager import Registered

PAGE = Path(__file__).parents[2] / "docs" / "what-leaves-your-network.md"

_ADYEN = {"ADYEN_API_KEY": "k" * 8, "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM"}
_LIVE = {"ADYEN_ENVIRONMENT": "live", "ADYEN_LIVE_PREFIX": "1797a841fbb37ca7-AdyenDemo"}
_MAILGUN = {"MAILGUN_API_KEY": "k", "MAILGUN_DOMAIN": "mg.seller.example"}
_SES = {"SES_ACCESS_KEY_ID": "AKIDEXAMPLE12345", "SES_SECRET_ACCESS_KEY": "k"}
_SMTP = {"SMTP_HOST": "mail.seller.example"}
CONFIGURED: Mapping[str, Sequence[Mapping[str, str]]] = {
    "stripe": [{"STRIPE_SECRET_KEY": "sk_test_1"}],
    "adyen": [_ADYEN, {**_ADYEN, **_LIVE}],
    "sandbox": [{}],
    "smtp": [_SMTP],
    "sendgrid": [
        {"SENDGRID_API_KEY": "k", "SENDGRID_REGION": region} for region in ("global", "eu")
    ],
    "postmark": [{"POSTMARK_SERVER_TOKEN": "k"}],
    "mailgun": [{**_MAILGUN, "MAILGUN_REGION": region} for region in ("us", "eu")],
    "ses": [{**_SES, "SES_REGION": "eu-central-1"}],
    "resend": [{"RESEND_API_KEY": "k"}],
    "outbox": [{}],
}
KINDS = {"payment": "Payment providers", "email": "Email senders"}

HEAD = """\
# What leaves your network

Written by `make what-leaves` from what the plugins declare; a test holds the page to them, and the
conformance kit holds the plugins to what they declare. Of your own installation,
`abaxus plugins hosts` prints the hosts, and with `--json` the fields and headers, too.

ABAXUS connects to your PostgreSQL, and an enabled plugin to the hosts that it declares, by TLS;
SMTP as `SMTP_SECURITY` says. Nothing else leaves: no telemetry, no licence or update check, no
fonts or scripts from elsewhere. The demo runs where there is no network
(`tests/integration/test_alone.py`).
Test mode uses `sandbox` and `outbox` alone, whatever is configured.

- **A payment provider** hears an amount, a currency, its own ids of the customer and the payment
  method, and a random id of the attempt or refund. No name, no address, no invoice, no usage, no id
  of yours.
- **An email sender** hears the mail: recipient, sender, subject, bodies, attachments, a Message-ID,
  and an id of the mail. Bodies and attachments say what the invoice shows.

Words put into everything that ABAXUS stores are looked for in every byte that is sent
(`tests/integration/test_canaries.py`). How fields are named: [plugins](plugins.md#what-leaves). The
headers are those beside `Host`, `Accept`, `Accept-Encoding`, `Connection`, `User-Agent: abaxus` and
`Content-Length`; SMTP has an envelope instead: the two addresses, and in EHLO the domain of the
sender's. What each field is for, and the settings, is in the plugin's README.
"""


def page() -> str:
    """The page as it ought to be."""
    return "\n".join([HEAD, *_sections()])


def registered(name: str) -> Iterator[tuple[Mapping[str, str], Registered]]:
    """The plugin's provider under each of its configurations."""
    for environ in CONFIGURED[name]:
        plugins = plugin_manager.load([name], environ)
        for one in (*plugins.payment_providers.values(), *plugins.email_senders.values()):
            yield environ, one


def shipped() -> set[str]:
    """The plugins that come with ABAXUS."""
    points = importlib.metadata.entry_points(group="abaxus")
    return {point.name for point in points if point.value.startswith("abaxus_plugins.")}


def _sections() -> Iterator[str]:
    for kind, title in KINDS.items():
        yield f"## {title}\n"
        for name in CONFIGURED:
            found = [(environ, one) for environ, one in registered(name) if one.kind == kind]
            if found:
                yield _section(name, found)


def _section(name: str, found: Sequence[tuple[Mapping[str, str], Registered]]) -> str:
    descriptor = found[0][1].descriptor
    lines = [f"### [{name}](../abaxus_plugins/{name}/README.md)", ""]
    if not any(one.hosts for _, one in found):
        return "\n".join([*lines, "Contacts nobody.", ""])
    lines += ["| host | with |", "|---|---|"]
    lines += [f"| {_listed(one.hosts)} | {_choice(environ)} |" for environ, one in found]
    lines += ["", f"- Headers: {_listed(descriptor.headers) or 'none'}."]
    lines += [f"- Fields: {_listed(descriptor.fields)}.", ""]
    return "\n".join(lines)


def _choice(environ: Mapping[str, str]) -> str:
    """The settings that decide on the host, as far as they are worth showing."""
    shown = (f"{name}={text}" for name, text in environ.items() if _decides(name))
    return ", ".join(f"`{one}`" for one in shown)


def _decides(name: str) -> bool:
    return name.endswith(("_REGION", "_ENVIRONMENT", "_LIVE_PREFIX", "_HOST"))


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


if __name__ == "__main__":
    PAGE.write_text(page())
