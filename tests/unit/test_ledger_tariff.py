"""Where a session's bill is split: only where a price changes."""

from ledger.tariff import Period, Tariff, borders

HOUR = 3_600_000
DAY = 24 * HOUR


def tariff(*periods: Period) -> Tariff:
    """Prices in UTC."""
    return Tariff("Here", "Grid", 0, 0, periods)


def test_a_period_with_the_prices_of_the_one_before_is_no_border():
    valley, valley_again, peak = Period(0, 3_000, 2_000), Period(60, 3_000, 2_000), Period(120, 9_000, 2_000)
    assert borders(tariff(valley, valley_again, peak), 0, DAY) == [2 * HOUR]
    assert borders(tariff(valley, peak), 0, DAY + 1) == [2 * HOUR, DAY]
    assert borders(tariff(valley), 0, 3 * DAY) == []


def test_a_purchase_price_alone_is_a_border_too():
    assert borders(tariff(Period(0, 3_000, 2_000), Period(60, 3_000, 2_500)), 0, DAY) == [HOUR]


def test_the_ends_of_the_stay_are_no_borders():
    prices = tariff(Period(0, 3_000, 2_000), Period(60, 9_000, 2_000), Period(120, 3_000, 2_000))
    assert borders(prices, HOUR, 2 * HOUR) == []
    assert borders(prices, HOUR - 1, 2 * HOUR + 1) == [HOUR, 2 * HOUR]
