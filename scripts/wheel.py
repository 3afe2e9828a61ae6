"""What a wheel carries besides the package: run books, dashboards, sample and lock, where the package looks for them.

hatchling calls this; an editable install needs nothing, there the package reads them where they stand.
"""
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = {
    "nbs/runs": "firebot/_books/runs",
    "nbs/dashboards": "firebot/_books/dashboards",
    "requirements.lock": "firebot/_books/requirements.lock",
    "data/sample": "firebot/_sample",
}


class Books(BuildHookInterface):
    "Adds what exists"
    def initialize(self, version: str, build_data: dict) -> None:
        "Fill in hatchling's list of what to include under another name"
        if version == "editable": return
        inside = {here: there for here, there in INSIDE.items() if (Path(self.root)/here).exists()}
        build_data["force_include"] |= inside
