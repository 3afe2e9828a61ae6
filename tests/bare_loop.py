"What the benchmark books hold the kernel against: the same idea with nothing around it, and for engines that want a class or a callback."
from typing import Any

import numba
import numpy as np


@numba.njit(cache=True)
def equity_only(open_: np.ndarray, close: np.ndarray, enter: np.ndarray, leave: np.ndarray, cash: float, slip: float, fee: float) -> np.ndarray:
    "Decided at the close, filled at the next open with all cash; keeps the equity and nothing else."
    out, units, wish = np.empty(close.size), 0.0, 0
    for t in range(close.size):
        if wish > 0 and units == 0.0:
            price = open_[t] * (1 + slip)
            units = cash / (price * (1 + fee))
            cash = 0.0
        elif wish < 0 and units > 0.0:
            cash += units * open_[t] * (1 - slip) * (1 - fee)
            units = 0.0
        wish = 1 if enter[t] else -1 if leave[t] else 0
        out[t] = cash + units * close[t]
    return out


def backtesting_strategy(signals: np.ndarray) -> type:
    "A strategy of backtesting.py that reads one decision a bar."
    from backtesting import Strategy

    class Told(Strategy):
        def init(self) -> None: pass
        def next(self) -> None:
            x = signals[len(self.data) - 1]
            if x == 1: self.buy()
            elif x == 0: self.position.close()
    return Told


def raptor_strategy(signals: np.ndarray) -> Any:
    "A strategy of raptorbt that reads one decision a bar."
    from raptorbt import Strategy

    class Told(Strategy):
        row = -1
        def on_bar(self, ctx: Any) -> None:
            self.row += 1
            x = signals[self.row]
            if x == 1: self.enter()
            elif x == 0: self.close_position()
    return Told()


def asked_strategy(signals: np.ndarray) -> Any:
    "A strategy of ours that is asked at each bar and reads one decision."
    from firebot.strategies import Strategy

    class Told(Strategy):
        row = -1
        def features(self) -> dict[str, tuple]: return {"price": ("last",)}
        def generate_signal(self, features: dict[str, float]) -> object:
            self.row += 1
            x = signals[self.row]
            return self.signal("BUY") if x == 1 else self.signal("CLOSE_LONG") if x == 0 else None
    return Told("told", {})


def told_strategy(signals: np.ndarray) -> Any:
    "The same, asked in step with the kernel because it counts its fills."
    from firebot.strategies import StreamRunner

    class Told(type(asked_strategy(signals))): # type: ignore[misc]
        fills = 0
        def on_fill(self, order: object) -> None: self.fills += 1
    return StreamRunner(Told("told", {}), 1)
