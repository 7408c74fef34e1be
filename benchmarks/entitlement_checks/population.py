"""Who is asked for: customers drawn Zipf-like, as statements.py draws those of the events."""

import random
from typing import Final

METRICS: Final = (("api_calls", "count"), ("tokens", "sum"), ("peak_seats", "max"))
FEATURES: Final = ("api_calls", "tokens", "peak_seats")
# Of a hundred checks, how many ask for each feature.
WEIGHTS: Final = (60, 30, 10)


def customer_no(chance: random.Random, customers: int) -> int:
    """A customer's number, from 1, which of 10,000 is drawn once in thirteen times."""
    return int(customers ** chance.random())


def customer_id(number: int) -> str:
    return f"customer-{number}"


def drawn(chance: random.Random, customers: int) -> tuple[str, str]:
    """A customer and a feature to be checked."""
    (feature_key,) = chance.choices(FEATURES, WEIGHTS)
    return customer_id(customer_no(chance, customers)), feature_key


def query(chance: random.Random, customers: int) -> str:
    """The query of a check."""
    customer, feature_key = drawn(chance, customers)
    return f"customer_id={customer}&feature_key={feature_key}"
