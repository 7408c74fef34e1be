"""Why Stripe declines, and what would help.

Source of the codes: docs.stripe.com/declines/codes, read 2026-08. The classes are our reading of
what that page advises; `advice_code`, where Stripe gives one, overrides them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from abaxus_core.plugin.payments import Retry

_LATER: Final = """
approve_with_id issuer_not_available processing_error reenter_transaction try_again_later
insufficient_funds card_velocity_exceeded withdrawal_count_limit_exceeded do_not_honor
generic_decline call_issuer no_action_taken duplicate_transaction partner_generic_decline
payment_limit_exceeded
"""
_CUSTOMER_ACTION: Final = """
authentication_required authentication_not_handled mobile_device_authentication_required
"""
_NEW_INSTRUMENT: Final = """
expired_card incorrect_cvc invalid_cvc incorrect_number invalid_number incorrect_zip
incorrect_address invalid_expiry_month invalid_expiry_year invalid_account
new_account_information_available card_not_supported currency_not_supported service_not_allowed
transaction_not_allowed not_permitted pin_try_exceeded invalid_pin incorrect_pin
offline_pin_required online_or_offline_pin_required testmode_decline invalid_billing_agreement
invalid_authorization invalid_customer_account expired_payment_information
invalid_payment_information recurring_not_supported_by_bank partner_high_risk_customer
"""
_NEVER: Final = """
pickup_card restricted_card lost_card stolen_card lost_or_stolen_card fraudulent
merchant_blacklist security_violation stop_payment_order revocation_of_authorization
revocation_of_all_authorizations do_not_try_again compliance_violation
"""
_FIX_REQUEST: Final = """
invalid_amount partner_action_not_supported invalid_business_account
"""

_RETRY: Final[Mapping[str, Retry]] = MappingProxyType(
    {
        **dict.fromkeys(_LATER.split(), "later"),
        **dict.fromkeys(_CUSTOMER_ACTION.split(), "customer_action"),
        **dict.fromkeys(_NEW_INSTRUMENT.split(), "new_instrument"),
        **dict.fromkeys(_NEVER.split(), "never"),
        **dict.fromkeys(_FIX_REQUEST.split(), "fix_request"),
    }
)
_ADVICE: Final[Mapping[str, Retry]] = MappingProxyType(
    {
        "do_not_try_again": "never",
        "try_again_later": "later",
        "confirm_card_data": "new_instrument",
    }
)
AUTHENTICATION: Final = frozenset(
    {"authentication_required", "authentication_not_handled", "payment_intent_action_required"}
)
"""Codes that say the payer must authenticate."""


def code_of(reason: str | None) -> str:
    """Stripe's word where it is one we know, else `declined`."""
    return reason if reason is not None and reason in _RETRY else "declined"


def retry_of(reason: str | None, advice: str | None) -> Retry:
    """What would help; an unknown reason may be tried again."""
    return _ADVICE.get(advice or "") or _RETRY.get(reason or "", "later")
