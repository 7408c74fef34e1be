"""Card numbers: recognised, so that they can be refused wherever a provider's own id belongs."""

DIGITS_MIN = 13
DIGITS_MAX = 19
SCHEME_DIGITS = "23456"


def looks_like_card_number(text: str) -> bool:
    """Return whether `text`, but for blanks and dashes, is 13 to 19 digits that pass Luhn's check.

    Lengths and check digit are those of ISO/IEC 7812-1, and the first digit one that card schemes
    use: other digits begin ids that providers give to stored methods.

    >>> looks_like_card_number("4242 4242 4242 4242"), looks_like_card_number("4242424242424241")
    (True, False)
    """
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and DIGITS_MIN <= len(digits) <= DIGITS_MAX):
        return False
    if digits[0] not in SCHEME_DIGITS:
        return False
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0
