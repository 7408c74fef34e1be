"""Parties of an invoice: who issued it and to whom, as they were when it was issued."""

import msgspec


class Seller(msgspec.Struct, frozen=True, kw_only=True):
    """Who issues, by the operator's settings; `address` line by line."""

    name: str | None = None
    address: tuple[str, ...] = ()
    tax_id: str | None = None
    email: str | None = None
    note: str | None = None


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """To whom; `id` is the caller's own."""

    id: str
    name: str | None
    email: str | None


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    seller: Seller
    buyer: Buyer
