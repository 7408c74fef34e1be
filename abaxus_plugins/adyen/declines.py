"""Why Adyen refuses, and what would help.

Source of the codes: docs.adyen.com/development-resources/refusal-reasons, as carried by three
public integrations, read 2026-08. The classes are our reading of that page.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from abaxus_core.plugin.payments import Retry

_REFUSALS: Final[Mapping[str, tuple[str, Retry]]] = MappingProxyType(
    {
        "2": ("declined", "later"),
        "3": ("referral", "never"),
        "4": ("acquirer_error", "later"),
        "5": ("blocked_card", "never"),
        "6": ("expired_card", "new_instrument"),
        "7": ("invalid_amount", "fix_request"),
        "8": ("invalid_number", "new_instrument"),
        "9": ("issuer_not_available", "later"),
        "10": ("not_supported", "new_instrument"),
        "11": ("authentication_failed", "customer_action"),
        "12": ("insufficient_funds", "later"),
        "14": ("fraudulent", "never"),
        "15": ("canceled", "never"),
        "16": ("canceled_by_payer", "never"),
        "17": ("invalid_pin", "new_instrument"),
        "18": ("pin_tries_exceeded", "new_instrument"),
        "19": ("pin_not_validated", "new_instrument"),
        "20": ("fraudulent", "never"),
        "21": ("not_submitted", "later"),
        "22": ("fraudulent", "never"),
        "23": ("transaction_not_allowed", "new_instrument"),
        "24": ("incorrect_cvc", "new_instrument"),
        "25": ("restricted_card", "never"),
        "26": ("revocation_of_authorization", "never"),
        "27": ("declined", "later"),
        "28": ("withdrawal_amount_exceeded", "later"),
        "29": ("withdrawal_count_exceeded", "later"),
        "31": ("fraudulent", "never"),
        "32": ("incorrect_address", "new_instrument"),
        "33": ("online_pin_required", "new_instrument"),
        "34": ("no_checking_account", "new_instrument"),
        "35": ("no_savings_account", "new_instrument"),
        "36": ("mobile_pin_required", "customer_action"),
        "37": ("contactless_fallback", "new_instrument"),
        "38": ("authentication_required", "customer_action"),
        "39": ("authentication_failed", "customer_action"),
        "40": ("penalty_box", "later"),
        "41": ("authentication_required", "customer_action"),
        "42": ("authentication_failed", "customer_action"),
        "43": ("online_pin_required", "customer_action"),
        "44": ("try_another_interface", "new_instrument"),
        "45": ("chip_downgrade", "new_instrument"),
        "46": ("blocked_by_adyen", "never"),
    }
)


def code_of(reason_code: str | None) -> str:
    """Our word for a `refusalReasonCode`; `declined` where we know none."""
    return _REFUSALS.get(reason_code or "", ("declined", "later"))[0]


def retry_of(reason_code: str | None) -> Retry:
    """What would help; an unknown reason may be tried again."""
    return _REFUSALS.get(reason_code or "", ("declined", "later"))[1]
