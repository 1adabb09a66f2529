"""Integers with their units, and the one function that turns energy and price into money.

Money in fen (0.01 yuan), prices in 0.0001 yuan per kWh (`_e4`), energy in Wh, power in W, distance in m, position in
1e-7 degree (`_e7`), ratios in parts per million (`_ppm`), time in ms since 1970 (`_ms`).
"""

from typing import Annotated

from msgspec import Meta

U32_MAX = 2**32 - 1
I64_MAX = 2**63 - 1

U32 = Annotated[int, Meta(ge=0, le=U32_MAX)]
"""An unsigned counter or number."""
U63 = Annotated[int, Meta(ge=0, le=I64_MAX)]
"""A non-negative quantity: amounts, energies, times. It stays within the 64-bit signed integers of other
implementations.
"""
SPAN_MS_MAX = 100 * 366 * 24 * 3_600_000
Span = Annotated[int, Meta(ge=1, le=SPAN_MS_MAX)]
"""A length of time in ms that a parameter sets: never zero, so that what is due after it lies in the future, and at
most a century (a day's limit on a demonstration's clock, 10,000 times faster, is 27 years), so that a chain's time plus
some of them stays within 64 bits.
"""
I64 = Annotated[int, Meta(ge=-(2**63), le=I64_MAX)]
"""A signed quantity: balances."""
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""An SM3 value."""
PublicKey = Annotated[bytes, Meta(min_length=33, max_length=65)]
"""Scheme byte and raw key: 33 bytes for Ed25519, 65 for SM2."""
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
"""Ed25519 R‖s, or SM2 r‖s."""
Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""A company's English name, a pile's name, a method's name."""

_WH_PER_KWH_TIMES_E4_PER_FEN = 1000 * 100
"""fen = Wh x (0.0001 yuan / kWh) / (1000 Wh / kWh) / (100 e4 / fen)."""


def energy_cost_fen(energy_wh: int, price_e4: int) -> int:
    """Cost in fen of `energy_wh` at `price_e4` (0.0001 yuan per kWh), rounded half up: once per bill line, nowhere
    else.

    Live cost, bill and settlement all call this, so they can never differ (a session with two prices is what users of
    other systems complain of). Both arguments are non-negative.
    """
    return (2 * energy_wh * price_e4 + _WH_PER_KWH_TIMES_E4_PER_FEN) // (2 * _WH_PER_KWH_TIMES_E4_PER_FEN)
