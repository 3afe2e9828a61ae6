"Work for other processes, which import it from here."
import os
import time
from pathlib import Path

import numpy as np

from firebot.models import ConfigError


def mean(window: tuple[int, int], shared: dict[str, np.ndarray]) -> float:
    "Slow for early windows, so that later ones come back first"
    time.sleep(0.02 if window[0] < 3 else 0)
    return float(shared["price"][window[0]:window[1]].mean())

def change(task: int, shared: dict[str, np.ndarray]) -> None: shared["price"][0] = task

def picky(task: int, shared: dict[str, np.ndarray]) -> int:
    "Fails late on 2 and at once on 5"
    if task == 2: time.sleep(0.3); raise ConfigError("two is no good.")
    if task == 5: raise ValueError("five")
    return task

def die(task: int, shared: dict[str, np.ndarray]) -> int: os._exit(3)

def wait_long(folder: str, shared: dict[str, np.ndarray]) -> int:
    (Path(folder) / f"{os.getpid()}.pid").touch()
    time.sleep(60)
    return 0
