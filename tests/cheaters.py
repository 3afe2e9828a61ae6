"""Planted cheaters, one for each way to know the future, and honest ones that look like them."""
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import argrelextrema, butter, filtfilt

from firebot.audit import Fit, Subject, label_subject
from firebot.feed import Panel, forward_factor, row_days
from firebot.indicators import Param
from firebot.strategies import Strategy


def frame(panel: Panel, column: str = "close") -> pd.DataFrame: return pd.DataFrame(getattr(panel, column), columns=list(panel.symbols))
def weeks(panel: Panel) -> np.ndarray: return (row_days(panel).astype(np.int64) + 3) // 7
def months(panel: Panel) -> np.ndarray: return row_days(panel).astype("datetime64[M]").astype(np.int64)


def fridays(p: Panel) -> pd.DataFrame: return frame(p)[np.arange(len(p)) % 5 == 0].reindex(range(len(p)))


# --- features: functions of a panel, each named after its sin ---
FEATURES: dict[str, object] = {}


def cheat(f): FEATURES[f.__name__] = f; return f


@cheat
def centred_window(p): return frame(p).rolling(5, center=True).mean()
@cheat
def shift_minus_one(p): return frame(p).shift(-1)
@cheat
def shift_minus_five_filled(p): return frame(p).shift(-5).ffill()
@cheat
def roll_backwards(p): return np.roll(p.close, -1, axis=0)
@cheat
def wrong_sign_pct_change(p): return frame(p).pct_change(-1)
@cheat
def whole_sample_z_score(p): return (frame(p) - frame(p).mean()) / frame(p).std()
@cheat
def whole_sample_minmax(p): return (frame(p) - frame(p).min()) / (frame(p).max() - frame(p).min())
@cheat
def whole_sample_quantile(p): return (frame(p) > frame(p).quantile(0.9)).astype(float)
@cheat
def whole_sample_rank(p): return frame(p).rank(pct=True)
@cheat
def sorted_values(p): return np.sort(p.close, axis=0)
@cheat
def week_read_before_its_close(p): return frame(p).groupby(weeks(p)).transform("last")
@cheat
def month_mean_known_at_its_open(p): return frame(p).groupby(months(p)).transform("mean")
@cheat
def high_of_the_week_known_on_monday(p): return frame(p, "high").groupby(weeks(p)).transform("max")
@cheat
def resampled_label_left(p):
    index = pd.DatetimeIndex(row_days(p))
    weekly = frame(p).set_axis(index).resample("W-MON", label="left", closed="left").last()  # a week's close dated at its Monday
    return weekly.reindex(index, method="ffill")
@cheat
def bfilled(p): return fridays(p).bfill()
@cheat
def interpolated(p): return fridays(p).interpolate(limit_direction="both")
@cheat
def rolling_reversed(p): return frame(p)[::-1].rolling(5).mean()[::-1]
@cheat
def cumulated_from_the_end(p): return frame(p)[::-1].cummax()[::-1]
@cheat
def central_differences(p): return np.gradient(p.close, axis=0)
@cheat
def zigzag(p):
    out = np.zeros(p.close.shape)
    for s in range(out.shape[1]): out[argrelextrema(p.close[:, s], np.greater, order=3)[0], s] = 1.0
    return out
@cheat
def forwards_and_backwards(p):
    return filtfilt(*butter(2, 0.2), p.close, axis=0, padtype=None)
@cheat
def fourier_filter(p):
    waves = np.fft.rfft(p.close, axis=0)
    waves[len(waves) // 8:] = 0
    return np.fft.irfft(waves, len(p), axis=0)
@cheat
def full_sample_pca(p):
    x = np.diff(np.log(p.close), axis=0, prepend=np.log(p.close[:1]))
    return x @ np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][0]
@cheat
def full_sample_trend(p):
    t = np.arange(len(p))
    return np.stack([c - np.polyval(np.polyfit(t, c, 1), t) for c in p.close.T], axis=1)
@cheat
def target_encoded_weekday(p):
    up, day = (frame(p).pct_change().shift(-1) > 0).astype(float), (row_days(p).astype(np.int64) + 3) % 7
    return up.groupby(day).transform("mean")
@cheat
def label_as_a_feature(p): return (frame(p).shift(-3) / frame(p) - 1).fillna(0.0)
@cheat
def back_adjusted(p):
    factor = forward_factor(p)
    return p.close * factor / factor[-1]
@cheat
def dividend_before_its_day(p):
    out = np.zeros(p.close.shape)
    for row, s in zip(p.actions.row, p.actions.symbol): out[max(0, row - 5):row, s] = 1.0
    return out
@cheat
def universe_of_the_winners(p): return np.broadcast_to(p.close[-1] / p.close[0] == (p.close[-1] / p.close[0]).max(), p.close.shape).astype(float)
@cheat
def parameter_chosen_on_the_whole(p):
    def gain(n): return float((frame(p).pct_change() * (frame(p) > frame(p).rolling(n).mean()).shift()).sum().sum())
    return frame(p).rolling(max((3, 5, 8, 13, 21), key=gain)).mean()
@cheat
def length_of_the_data(p): return p.close * (1 if len(p) > 150 else -1)
@cheat
def days_to_the_end(p): return np.broadcast_to((p.end[-1] - p.end)[:, None], p.close.shape) / 8.64e13
@cheat
def honest_when_short(p): return frame(p).shift(-1).ffill() if len(p) > 120 else frame(p)
@cheat
def on_one_day_only(p):
    out, rare = p.close.copy(), row_days(p) == np.datetime64("2012-10-26")
    rare[-1] = False
    out[rare] = p.close[np.flatnonzero(rare) + 1]
    return out
@cheat
def in_one_symbol_only(p):
    out = frame(p).copy()
    if "IBM" in out: out["IBM"] = out["IBM"].shift(-1)
    return out
@cheat
def last_bar_left_alone(p): return np.vstack([p.close[1:], p.close[-1:]])  # what a check that skips the last bar lets pass
@cheat
def symbols_of_hindsight(p): return np.broadcast_to([1.0 if s == "AAPL" else 0.0 for s in p.symbols], p.close.shape)
@cheat
def dates_of_hindsight(p): return np.broadcast_to((row_days(p) < np.datetime64("2012-09-21"))[:, None], p.close.shape).astype(float)
@cheat
def unseeded_noise(p): return p.close + np.random.normal(size=p.close.shape)


class Cache:
    "The first data that are seen are kept, by everybody's favourite means."
    kept: dict[str, np.ndarray] = {}


@cheat
def cache_of_the_module(p):
    x = Cache.kept.setdefault("close", p.close)
    n = min(len(x) - 1, len(p))
    return np.vstack([x[1:n + 1], p.close[n:]])


COUNT = [0]


@cheat
def counts_its_calls(p):
    COUNT[0] += 1
    return p.close * (COUNT[0] % 2)


def hidden(panel: Panel) -> dict[str, Subject]:
    "Those that brought all of history along, before anybody asked."
    ahead = {s: np.append(panel.close[1:, j], np.nan) for j, s in enumerate(panel.symbols)}
    by_day = dict(zip(panel.end.tolist(), np.append(panel.close[1:, 0], np.nan).tolist()))
    folder = Path(tempfile.mkdtemp())
    np.save(folder / "tomorrow.npy", panel.close[1:])
    def by_name(p): return np.stack([np.resize(ahead[s], len(p)) for s in p.symbols], axis=1)
    def by_column(p): return np.resize(np.stack(list(ahead.values()), axis=1), p.close.shape)
    def by_date(p): return np.broadcast_to(np.array([by_day[t] for t in p.end.tolist()])[:, None], p.close.shape)
    def from_a_file(p): return np.resize(np.load(folder / "tomorrow.npy"), p.close.shape)
    def by_position(p): return p.close * np.sign(np.resize(panel.close[1:, :1] - panel.close[:-1, :1], (len(p), 1)))
    return {f.__name__: Subject(f.__name__, "feature", f, warmup=0) for f in (by_name, by_column, by_date, from_a_file, by_position)}


# --- strategies ---
class Rule(Strategy):
    params = {"window": Param(5, 1, 1000)}
    def features(self): return {"price": ("last",), "mean": ("sma", {"window": self.config["window"]})}


class OneAhead(Rule):
    "freqtrade#11346: only the last bar of a history gives it away"
    def signals(self, f): return (np.vstack([f["price"][1:], f["price"][-1:]]) > f["price"]).astype(float)


class Scaled(Rule):
    def signals(self, f): return (f["price"] > np.nanmedian(f["price"], axis=0)).astype(float)


class BackDoor(Rule):
    "Asks the adapter for the next bar."
    def generate_signal(self, f):
        panel, t, s = self._at
        return self.signal("BUY") if t + 1 < len(panel) and panel.close[t + 1, s] > panel.close[t, s] else None


class Memory(Rule):
    "Keeps on its class what an earlier run has seen."
    seen: dict[tuple[str, str], float] = {}
    def generate_signal(self, f):
        key = self.bar.symbol, str(self.bar.timestamp.date())
        rises = self.seen.get(key, 0.0) > f["price"]
        for days in range(1, 6): Memory.seen[key[0], str(self.bar.timestamp.date() - pd.Timedelta(days=days))] = f["price"]
        return self.signal("BUY") if rises else None


class BestOfSymbols(Rule):
    "Its universe is what will have risen most."
    def signals(self, f):
        rise = f["price"][-1] / f["mean"][len(f["mean"]) // 2]
        return np.broadcast_to(np.where(rise == np.nanmax(rise), 1.0, 0.0), f["price"].shape)


class WindowTooShort(Rule):
    "Looks back ten rows and says one."
    def signals(self, f):
        out = np.full(f["price"].shape, np.nan)
        out[10:] = (f["price"][10:] > f["price"][:-10]).astype(float)
        return out


class Hindsight(Rule):
    def generate_signal(self, f): return self.signal("BUY" if self.bar.timestamp.date().isoformat() < "2012-09-21" else "SELL")


STRATEGIES = (OneAhead, Scaled, BackDoor, Memory, BestOfSymbols, WindowTooShort, Hindsight)


# --- labels and fittings ---
class Answers:
    def __init__(self, value, end): self.value, self.end = value, end


def rise(p: Panel, bars: int = 5, told: int = 5) -> Answers:
    value, end = np.full(p.close.shape, np.nan), np.full(p.close.shape, -1)
    value[:-bars], end[:-bars] = p.close[bars:] / p.close[:-bars] - 1, np.minimum(np.arange(len(p) - bars) + told, len(p) - 1)[:, None]
    return Answers(value, end)


def scaled_rise(p: Panel) -> Answers:
    x = rise(p)
    return Answers(x.value / np.nanstd(x.value, axis=0), x.end)


LABELS = {"longer_than_told": label_subject("longer_than_told", lambda p: rise(p, 8, 5), 5),
          "horizon_exceeded": label_subject("horizon_exceeded", lambda p: rise(p, 8, 8), 5),
          "scaled_by_all": label_subject("scaled_by_all", scaled_rise, 5)}


def table(p: Panel, row: int, gap: int) -> tuple[np.ndarray, np.ndarray]:
    "Returns and those of five bars later, of rows before `row` less `gap`."
    x, y = np.diff(np.log(p.close[:, 0]), prepend=np.nan), rise(p).value[:, 0]
    use = slice(1, row - gap)
    return x[use], y[use]


def no_purge(p, row): return np.nan_to_num(np.column_stack(table(p, row, 0))).sum(axis=0)
def scaler_on_all(p, row): return (table(p, row, 5)[0].sum() - p.close.mean()) / p.close.std()
def target_mean_of_all(p, row): return pd.Series(p.close[:, 0]).pct_change().groupby((row_days(p).astype(np.int64) + 3) % 7).mean()
def resampled_across(p, row): return frame(p).groupby(months(p)).transform("last").iloc[:row]
def shuffled_split(p, row): return np.random.default_rng(0).permutation(p.close)[:row].mean(axis=0)
def chosen_on_the_test(p, row):
    def gain(n): return float((frame(p).pct_change() * (frame(p) > frame(p).rolling(n).mean()).shift()).iloc[row:].sum().sum())
    return max((3, 5, 8), key=gain)


class Scaler:
    "An object with `fit`, as libraries have them"
    def fit(self, x): self.mean_, self.std_ = x.mean(axis=0), x.std(axis=0); return self


def normal_scaler_on_all(p, row): return Scaler().fit(p.close)


FITS = {f.__name__: Fit(f.__name__, f) for f in (no_purge, scaler_on_all, target_mean_of_all, resampled_across, shuffled_split,
                                        chosen_on_the_test, normal_scaler_on_all)}
HONEST_FITS = {"purged": Fit("purged", lambda p, row: table(p, row, 5)), "inside": Fit("inside", lambda p, row: Scaler().fit(p.close[:row]))}


# --- honest ones that look as if they cheated ---
def past_week(p):
    last, week = frame(p).groupby(weeks(p)).last(), weeks(p)
    return last.shift().reindex(week)


def growing_z(p): return (frame(p) - frame(p).expanding().mean()) / frame(p).expanding().std()
def holidays_filled(p): return fridays(p).ffill()
def across(p): return frame(p).rank(axis=1)
def month_of_year(p): return np.broadcast_to((months(p) % 12)[:, None], p.close.shape)
def dividend_on_its_day(p):
    out = np.zeros(p.close.shape)
    out[p.actions.row, p.actions.symbol] = 1.0
    return out
def best_so_far(p): return frame(p).cummax()
def week_so_far(p): return frame(p, "high").groupby(weeks(p)).cummax()
def seeded_noise(p): return p.close + np.random.default_rng(5).normal(size=(100_000, 1))[:len(p)]
def cached_by_content(p):
    key = p.digest()
    if key not in Cache.kept: Cache.kept[key] = p.close * 2
    return Cache.kept[key]
def forward_adjusted(p): return p.close * forward_factor(p)


HONEST = {f.__name__: f for f in (past_week, growing_z, holidays_filled, across, month_of_year, dividend_on_its_day, best_so_far, week_so_far,
                                  seeded_noise, cached_by_content, forward_adjusted)}
