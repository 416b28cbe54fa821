"""Amounts as people write them -> integer minor units of the shop's currency."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

# ISO 4217 exponents that are not 2.
_EXPONENTS = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
    "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "CLF": 4, "UYW": 4,
}  # fmt: skip


def exponent(currency: str) -> int:
    """Decimal places of a currency by ISO 4217: JPY 0, USD 2, KWD 3."""
    return _EXPONENTS.get(currency.upper(), 2)


class Money:
    """The shop's currency and the rates of the others: shop units for one unit of another."""

    def __init__(self, currency: str, rates: Mapping[str, float]) -> None:
        self.currency = currency.upper()
        self.rates = {code.upper(): rate for code, rate in rates.items()}

    def factor(self, currency: str) -> Decimal | None:
        """The shop's minor units for one major unit of `currency` ("" = the shop's); None without a rate."""
        code = currency.upper() or self.currency
        rate = Decimal(1) if code == self.currency else self.rates.get(code)
        return None if rate is None else Decimal(str(rate)).scaleb(exponent(self.currency))

    def minor(self, amount: Decimal, factor: Decimal) -> int:
        """Round to a whole minor unit, halves to even."""
        return int((amount * factor).to_integral_value(ROUND_HALF_EVEN))
