"""What an operator says of an Adyen merchant account, and where that account is reached."""

import re
from typing import Final, Literal, Self

import msgspec

from abaxus_core.plugin.settings import Secret

TEST_HOST: Final = "checkout-test.adyen.com"

_KEY: Final = re.compile(r"[!-~]{8,512}")
_HMAC_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}")
_MERCHANT: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9]{1,32}-[A-Za-z0-9]{1,32}")
_RETURN_URL: Final = re.compile(r"https://[a-z0-9.-]{1,253}(?:/[A-Za-z0-9/_.-]{0,200})?")


class ApiKey(Secret):
    """The key of an API credential with the roles for Checkout and for recurring payments."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if _KEY.fullmatch(text) is None:
            raise ValueError("must be an API key of Adyen: 8 to 512 visible ASCII characters")
        super().__init__(text)


class WebhookKey(Secret):
    """The HMAC key of a standard webhook, in hex; Customer Area, Developers, Webhooks."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if _HMAC_KEY.fullmatch(text) is None:
            raise ValueError("must be the HMAC key of a webhook: 64 hex digits")
        super().__init__(text)


class MerchantAccount(str):
    """`AcmeECOM`"""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if _MERCHANT.fullmatch(text) is None:
            raise ValueError("must be the name of a merchant account, such as AcmeECOM")
        return super().__new__(cls, text)


class LivePrefix(str):
    """`1797a841fbb37ca7-AdyenDemo`; Customer Area, Developers, API URLs."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if _PREFIX.fullmatch(text) is None:
            raise ValueError("must be the prefix of your live URLs: 1797a841fbb37ca7-AdyenDemo")
        return super().__new__(cls, text.lower())


class ReturnUrl(str):
    """Demanded by Adyen's schema; nobody is sent there when the payer is not present."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if _RETURN_URL.fullmatch(text) is None:
            raise ValueError("must be an https URL without a query")
        return super().__new__(cls, text)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Live mode has a host of its own for each company, named by `live_prefix`. Without
    `webhook_hmac_key` no webhook is taken.
    """

    api_key: ApiKey
    merchant_account: MerchantAccount
    environment: Literal["test", "live"] = "test"
    live_prefix: LivePrefix | None = None
    recurring_processing_model: Literal["Subscription", "UnscheduledCardOnFile"] = "Subscription"
    return_url: ReturnUrl = ReturnUrl("https://abaxus.invalid/")
    webhook_hmac_key: WebhookKey | None = None

    def __post_init__(self) -> None:
        if self.environment == "live" and self.live_prefix is None:
            raise ValueError("ADYEN_LIVE_PREFIX is not set, and ADYEN_ENVIRONMENT is live")
        if self.environment == "test" and self.live_prefix is not None:
            raise ValueError("ADYEN_LIVE_PREFIX is set, and ADYEN_ENVIRONMENT is test")

    @property
    def host(self) -> str:
        if self.live_prefix is None:
            return TEST_HOST
        return f"{self.live_prefix}-checkout-live.adyenpayments.com"

    @property
    def base(self) -> str:
        """What a frozen request's path, which begins with the version, is relative to."""
        return f"https://{self.host}" + ("" if self.live_prefix is None else "/checkout")
