import pytest

from abaxus_core.domain.customers import METADATA_MAX, Customer, check_currency, check_metadata
from abaxus_core.errors import Conflict, InvalidInput
from tests.unit.domain.samples import at


def customer(currency: str | None) -> Customer:
    return Customer(customer_no=1, id="acme", currency=currency, created_at=at("2026-04-01"))


@pytest.mark.parametrize("currency", [None, "usd"])
def test_the_first_subscription_fixes_the_currency(currency: str | None) -> None:
    check_currency(customer(currency), "usd")


def test_a_customer_has_one_currency() -> None:
    with pytest.raises(Conflict) as refused:
        check_currency(customer("eur"), "usd")
    assert refused.value.code == "CURRENCY_MISMATCH"


def test_metadata_is_bounded() -> None:
    check_metadata({str(n): n for n in range(METADATA_MAX)})
    with pytest.raises(InvalidInput) as refused:
        check_metadata({str(n): n for n in range(METADATA_MAX + 1)})
    assert refused.value.field == "metadata"
