"NautilusTrader told what to do by a file of bars and decisions, in an environment of its own: seconds of each run, fills and the cash, as JSON."
import json
import sys
from collections.abc import Mapping
from time import perf_counter

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy


class Told(Strategy): # type: ignore[misc]
    "Reads one decision a bar"
    def __init__(self, kind: BarType, share: Equity, signals: list[float], units: Quantity) -> None:
        super().__init__(StrategyConfig())
        self.kind, self.share, self.signals, self.units, self.row = kind, share, signals, units, -1
    def on_start(self) -> None: self.subscribe_bars(self.kind)
    def on_bar(self, bar: Bar) -> None:
        self.row += 1
        x = self.signals[self.row]
        if x == 1: self.submit_order(self.order_factory.market(self.share.id, OrderSide.BUY, self.units))
        elif x == 0 and not self.portfolio.is_flat(self.share.id):
            self.submit_order(self.order_factory.market(self.share.id, OrderSide.SELL, self.units))


def run(data: Mapping[str, np.ndarray], units: int) -> tuple[float, int, float]:
    "Seconds of one backtest, its fills and its cash."
    venue = Venue("SIM")
    share = Equity(InstrumentId(Symbol("X"), venue), Symbol("X"), USD, 2, Price.from_str("0.01"), Quantity.from_int(1), 0, 0)
    kind, one = BarType.from_str("X.SIM-1-MINUTE-LAST-EXTERNAL"), Quantity.from_int(100_000)
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(venue, OmsType.NETTING, AccountType.CASH, [Money(float(data["cash"]), USD)], base_currency=USD)
    engine.add_instrument(share)
    prices = [[Price(x, 2) for x in data[c].tolist()] for c in ("open", "high", "low", "close")]
    engine.add_data([Bar(kind, *price, one, t, t) for *price, t in zip(*prices, data["end"].tolist())])
    engine.add_strategy(Told(kind, share, data["signals"].tolist(), Quantity.from_int(units)))
    began = perf_counter()
    engine.run()
    took = perf_counter() - began
    out = took, len(engine.trader.generate_fills_report()), engine.portfolio.account(venue).balance_total(USD).as_double()
    engine.dispose()
    return out


if __name__ == "__main__":
    path, units, turns = sys.argv[1:]
    seconds, fills, cash = zip(*[run(np.load(path), int(units)) for _ in range(int(turns))])
    print(json.dumps(dict(seconds=seconds, fills=fills[0], cash=cash[0])))
