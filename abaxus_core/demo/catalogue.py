"""What the demo sells: five metrics, one price plan, and the airlines that are its customers.

Bodies of API requests, as a caller would write them. `examples/airport` bills the whole year with
the same catalogue.
"""

PLAN_ID = "airport-services"
START_DATE = "2013-01-01T00:00:00Z"

METRICS: tuple[dict[str, object], ...] = (
    {"key": "flights", "name": "Flights", "aggregation": "count"},
    {"key": "miles", "name": "Miles flown", "aggregation": "sum"},
    {
        "key": "aircraft",
        "name": "Aircraft",
        "aggregation": "unique_count",
        "property": "tailnum",
    },
    {
        "key": "departure_delay_p95",
        "name": "Departure delay, 95th percentile",
        "aggregation": "percentile",
        "percentile": "95",
    },
    {"key": "longest_leg", "name": "Longest leg, minutes", "aggregation": "max"},
)

PLAN: dict[str, object] = {
    "id": PLAN_ID,
    "name": "Airport services",
    "currency": "usd",
    "billing_period": "monthly",
    "effective_from": START_DATE,
    "charges": [
        {
            "pricing_model": "flat_fee",
            "metric_key": None,
            "description": "Base fee",
            "amount": "500.00",
            "billing": "in_arrears",
        },
        {
            "pricing_model": "tiered",
            "metric_key": "flights",
            "description": "Departures",
            "tiers": [
                {"up_to": 1000, "unit_price": "12.00"},
                {"up_to": 3000, "unit_price": "9.50"},
                {"up_to": None, "unit_price": "7.25"},
            ],
        },
        {
            "pricing_model": "tiered",
            "metric_key": "miles",
            "description": "Miles flown",
            "tiers": [
                {"up_to": 500000, "unit_price": "0.004"},
                {"up_to": 2000000, "unit_price": "0.003"},
                {"up_to": None, "unit_price": "0.0025"},
            ],
        },
        {
            "pricing_model": "package",
            "metric_key": "aircraft",
            "description": "Aircraft handled",
            "package_size": 10,
            "package_price": "150.00",
        },
        {
            "pricing_model": "per_unit",
            "metric_key": "departure_delay_p95",
            "description": "Punctuality: 95th percentile of departure delay, minutes",
            "unit_price": "1.50",
        },
        {
            "pricing_model": "volume",
            "metric_key": "longest_leg",
            "description": "Longest leg, minutes",
            "tiers": [
                {"up_to": 300, "unit_price": "0.10"},
                {"up_to": None, "unit_price": "0.25"},
            ],
        },
    ],
    "entitlements": [
        {"feature_key": "priority_slots", "type": "boolean", "value": True},
        {"feature_key": "departures", "type": "limit", "limit": 5000, "metric_key": "flights"},
        {"feature_key": "lounge", "type": "custom", "value": "silver"},
    ],
}

AIRLINES: dict[str, str] = {
    "9E": "Endeavor Air Inc.",
    "AA": "American Airlines Inc.",
    "AS": "Alaska Airlines Inc.",
    "B6": "JetBlue Airways",
    "DL": "Delta Air Lines Inc.",
    "EV": "ExpressJet Airlines Inc.",
    "F9": "Frontier Airlines Inc.",
    "FL": "AirTran Airways Corporation",
    "HA": "Hawaiian Airlines Inc.",
    "MQ": "Envoy Air",
    "OO": "SkyWest Airlines Inc.",
    "UA": "United Air Lines Inc.",
    "US": "US Airways Inc.",
    "VX": "Virgin America",
    "WN": "Southwest Airlines Co.",
    "YV": "Mesa Airlines Inc.",
}


def customer(airline_id: str) -> dict[str, object]:
    """The request that makes an airline a customer, paying through the sandbox provider."""
    return {
        "id": airline_id,
        "name": AIRLINES[airline_id],
        "email": f"accounts.payable@{airline_id.lower()}.example",
        "payment_method": {
            "provider_customer_id": f"sandbox_{airline_id.lower()}",
            "provider_payment_method": "pm_ok",
        },
    }


def subscription(airline_id: str) -> dict[str, object]:
    """The request that subscribes an airline to the plan from the start of 2013."""
    return {"customer_id": airline_id, "plan_id": PLAN_ID, "start_date": START_DATE}
