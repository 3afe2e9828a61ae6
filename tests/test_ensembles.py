"Votes against a slow double; batch against row by row; no look ahead; attribution that adds up on random journals and in a run."
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from firebot.config import load_config
from firebot.ensembles import METHODS, Ensemble, combine, make_memory
from firebot.journal import Event
from firebot.models import ConfigError, session_open
from firebot.money import from_int
from firebot.portfolio import ACCOUNT, daily_pnl, fold, round_trips
from firebot.runs import attribution_csv, execute, make_job, result_files
from firebot.votes import attribute, divided

NAMES = ("a", "b", "c", "d")


@st.composite
def histories(draw, methods=METHODS):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    M, S, T = draw(st.integers(2, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 40))
    method = draw(st.sampled_from(methods))
    weights = {n: Decimal(draw(st.integers(0, 30))) / 10 for n in NAMES[:M]} if method in ("weighted", "confidence") else {}
    small = st.integers(1, 5)
    e = Ensemble(NAMES[:M], method, weights, draw(st.none() | st.integers(0, 6)), draw(st.integers(1, M)), draw(small), draw(small))
    opinions = rng.choice([np.nan, np.nan, 1.0, 0.5, 0.3, 0.2, 0.0, -0.5, -1.0], (T, M, S))
    price = np.where(rng.random((T, S)) < 0.15, np.nan, 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, S)), axis=0)))
    opinions[np.isnan(price)[:, None].repeat(M, axis=1)] = np.nan # asked at own bars only
    return e, opinions, price


@given(histories())
@settings(max_examples=200)
def test_rows_are_the_batch_and_the_future_changes_nothing(history):
    e, opinions, price = history
    whole, memory = combine(e, opinions, price), make_memory(e, price.shape[1])
    rows = [combine(e, opinions[t:t + 1], price[t:t + 1], memory) for t in range(len(price))]
    for name in ("signals", "stance", "mass"): assert_array_equal(np.concatenate([getattr(r, name) for r in rows]), getattr(whole, name))
    cut = len(price) // 2
    if cut: assert_array_equal(combine(e, opinions[:cut], price[:cut]).signals, whole.signals[:cut])
    assert (whole.mass >= 0).all() and np.nanmax(np.abs(whole.signals), initial=0) <= 1
    decided = whole.signals[:, None] == whole.signals[:, None]
    assert (whole.mass[~np.broadcast_to(decided, whole.mass.shape)] == 0).all()
    assert (np.sign(whole.stance) == np.sign(whole.signals[:, None]))[whole.mass > 0].all() or e.method == "stacked"
    assert ((whole.mass.sum(axis=1) > 0) == decided[:, 0]).all()


@given(histories(METHODS[:3]))
@settings(max_examples=200)
def test_votes_are_the_slow_ones(history):
    "In fractions, from the page's table."
    e, opinions, price = history
    got = combine(e, opinions, price).signals
    for s in range(price.shape[1]):
        stance: dict[str, tuple[float, int]] = {}
        for t in np.flatnonzero(~np.isnan(price[:, s])).tolist():
            spoke = False
            for m, name in enumerate(e.members):
                x = opinions[t, m, s]
                if not np.isnan(x): stance[name], spoke = (float(x), 0), True
                elif name in stance:
                    stance[name] = stance[name][0], stance[name][1] + 1
                    if e.max_age is not None and stance[name][1] > e.max_age:
                        del stance[name]
                        spoke = True
            mass, behind = {1: Fraction(0), 0: Fraction(0), -1: Fraction(0)}, Fraction(0)
            for name, (x, _) in stance.items():
                w = Fraction(e.weights.get(name, Decimal(1)))
                behind += w
                mass[int(np.sign(x))] += w * Fraction(str(abs(x))) if e.method == "confidence" and x else w
            winner = max(mass, key=lambda d: mass[d])
            if not spoke or len(stance) < e.quorum or 2 * mass[winner] <= sum(mass.values()): assert np.isnan(got[t, s])
            else: assert got[t, s] == pytest.approx(winner * float(mass[winner] / behind), rel=1e-12)


def test_stacked_learns_whom_to_follow():
    "One member knows the sign of the next five bars, one says the opposite, one guesses."
    rng = np.random.default_rng(3)
    steps = rng.choice([-0.01, 0.01], 900).repeat(5)[:3000]
    price = (100 * np.cumprod(1 + steps))[:, None]
    future = np.sign(np.append(price[5:, 0] / price[:-5, 0] - 1, np.zeros(5)))
    opinions = np.stack([future, -future, rng.choice([-1.0, 1.0], 3000)], axis=1)[:, :, None]
    e, memory = Ensemble(NAMES[:3], "stacked", horizon=5, least=200), make_memory(Ensemble(NAMES[:3], "stacked", horizon=5), 1)
    got = combine(e, opinions, price, memory)
    assert np.isnan(got.signals[:204]).all() and (np.sign(got.signals[300:2990, 0]) == future[300:2990])[future[300:2990] != 0].mean() > 0.99
    assert memory.worth[0] > 0 > memory.worth[1] and abs(memory.worth[2]) < 0.2 * memory.worth[0]


def test_stacked_is_the_textbook_regression():
    "The recurrence's coefficients are those of a least-squares fit on the rows whose outcome is known."
    rng = np.random.default_rng(5)
    price, opinions = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (400, 2)), axis=0)), rng.uniform(-1, 1, (400, 3, 2))
    e, memory = Ensemble(NAMES[:3], "stacked", horizon=4, least=1, ridge=2.5), make_memory(Ensemble(NAMES[:3], "stacked", horizon=4), 2)
    combine(e, opinions, price, memory)
    x, y = opinions[:-4].transpose(0, 2, 1).reshape(-1, 3), (price[4:] / price[:-4] - 1).ravel()
    wide = np.vstack([x, np.sqrt(2.5) * np.eye(3)])
    assert np.allclose(memory.worth, np.linalg.lstsq(wide, np.append(y, np.zeros(3)), rcond=None)[0], rtol=1e-9)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**12), min_size=1, max_size=6).filter(any))
def test_divided(steps, weights):
    parts, whole = divided(steps, weights), sum(weights)
    assert sum(parts) == steps
    for p, w in zip(parts, weights): assert abs(p - Fraction(steps * w, whole)) < 1


@st.composite
def journals(draw):
    "A journal of an ensemble that trades one symbol either way, with splits and dividends."
    rng, events, held = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), [], 0
    days = [d for d in (date(2024, 1, 2) + timedelta(days=i) for i in range(60)) if d.weekday() < 5]
    at = [session_open(d) for d in days]
    def say(t, kind, order="", **data):
        events.append(Event(len(events), at[t], t, kind, "ensemble" if kind != "session" else "", "S" if kind != "session" else "", order, data))
        return len(events) - 1
    say(0, "session", cash="1000000.00", currency="USD")
    for t in range(1, draw(st.integers(2, 30))):
        what = rng.random()
        if what < 0.7 or not held:
            direction = int(rng.choice([1, -1]))
            shares = {n: int(rng.integers(1, 1000)) for n in rng.choice(NAMES, rng.integers(1, 5), replace=False).tolist()}
            reasons, side = dict(votes=dict.fromkeys(shares, "1.0"), shares=shares), "buy" if direction > 0 else "sell"
            seen = say(t, "signal", direction="long", confidence="1", outcome="ordered", metadata=reasons)
            say(t, "order", f"O{t:06d}", side=side, signal=seen)
            quantity = int(rng.integers(1, 300))
            for part in range(int(rng.integers(1, 3))):
                price = Decimal(int(rng.integers(100, 20_000))) / 100
                say(t, "fill", f"O{t:06d}", fill_id=f"F{t:04d}{part}", side=side, quantity=str(quantity), price=str(price),
                    amount=f"{price * quantity:.2f}", commission=f"{rng.integers(0, 300) / 100:.2f}")
                held += direction * quantity
        elif what < 0.85: say(t, "dividend", per_share="0.13", quantity=str(held), cash=f"{Decimal(held) * Decimal('0.13'):.2f}")
        else:
            up, down = (int(x) for x in rng.choice([1, 2, 3, 7], 2))
            after = int(np.sign(held)) * (abs(held) * up // down)
            say(t, "split", numerator=up, denominator=down, quantity_before=str(held), quantity_after=str(after),
                cash=f"{rng.integers(0, 500) / 100:.2f}")
            held = after
    return events, at


@given(journals())
@settings(max_examples=150)
def test_shares_of_members_come_to_the_whole(journal):
    events, at = journal
    shared = attribute(events)
    account, each = fold(events), fold(shared)
    assert each.cash == account.cash
    owned = [p.quantity for p in each.positions.values()]
    assert sum(owned) == sum(p.quantity for p in account.positions.values())
    assert all(q >= 0 for q in owned) or all(q <= 0 for q in owned)
    for e in (e for e in events if e.kind in ("fill", "split", "dividend")):
        mine = [x for x in shared if (x.kind, x.bar, x.order_id) == (e.kind, e.bar, e.order_id)
                and x.data.get("fill_id", "").startswith(e.data.get("fill_id", ""))]
        for key in ("quantity", "amount", "commission", "cash", "quantity_after", "quantity_before"):
            if key in e.data: assert sum(Decimal(x.data[key]) for x in mine) == Decimal(e.data[key]), key
    last = {"S": Decimal("77.77")}
    assert sum(t.pnl for t in round_trips(shared, last)) == sum(t.pnl for t in round_trips(events, last))
    start, close = np.array([int(t.timestamp()) * 10**9 for t in at]), np.full((len(at), 1), 77.77)
    mine, ours = (daily_pnl(x, start, ["S"], close) for x in (shared, events))
    assert [r.total for r in mine if r.strategy_id == ACCOUNT] == [r.total for r in ours if r.strategy_id == ACCOUNT]
    assert [r.cash for r in mine if r.strategy_id == ACCOUNT] == [r.cash for r in ours if r.strategy_id == ACCOUNT]


TEXT = """
data_sources: [{type: sample}]
strategies:
  - {name: momentum, class: MomentumStrategy, params: {lookback_window: 20, threshold: 0.02}}
  - {name: cross, class: SmaCrossStrategy, params: {fast: 20, slow: 50}}
  - {name: back, class: MeanReversionStrategy}
assets: [{symbol: AAPL}, {symbol: IBM}]
run: {start: 2005-01-03, end: 2006-12-29}
execution: {slippage_bps: 5, commission: {per_share: 0.005, fixed: 1}}
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_run_with_an_ensemble(method):
    o = execute(make_job(load_config(TEXT, [f"ensemble.method={method}"])))
    files = result_files(o)
    totals = {n: sum(r.total for r in o.daily if r.strategy_id == n) for n in ("momentum", "cross", "back", ACCOUNT)}
    gained = from_int(o.result.equity[-1, 0], 2) - o.job.setup.cash
    assert totals.pop(ACCOUNT) == gained == sum(totals.values()) and {e.strategy_id for e in o.events[1:]} == {"ensemble"}
    assert len(files["attribution.csv"].splitlines()) >= len(files["fills.csv"].splitlines()) > 2
    assert attribution_csv(o) == files["attribution.csv"]


@pytest.mark.parametrize(("override", "says"), [("method=vote", "did you mean|one of"), ("weights.cross=2", "change nothing under majority"),
                                                ("quorum=4", "from 1 to 3"), ("weights.corss=1", "corss"), ("max_age=-1", "max_age")])
def test_a_wrong_ensemble_is_refused(override, says):
    with pytest.raises(ConfigError, match=says): make_job(load_config(TEXT, ["ensemble.method=majority", f"ensemble.{override}"]))


def test_one_strategy_is_no_ensemble():
    with pytest.raises(ConfigError, match="at least two"):
        make_job(load_config(TEXT, ["ensemble.method=majority", "strategies[1].enabled=false", "strategies[2].enabled=false"]))
