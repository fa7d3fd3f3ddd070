"""Collects cases and writes them, one file each, numbered in their order."""

import json
from pathlib import Path
from typing import Any

from forms import text_of


class Cases:
    def __init__(self, form: str) -> None:
        self.form = form
        self.made: list[dict[str, Any]] = []

    def good(self, name: str, what: str, given: Any, **more: Any) -> None:
        self._add({"name": name, "what": what, "expect": "OK"}, given, more)

    def bad(self, name: str, what: str, reason: str, change: str, given: Any, **more: Any) -> None:
        """`change` is one sentence: what an integrator has to do."""
        assert change.endswith(".") and reason != "OK"
        self._add({"name": name, "what": what, "expect": reason, "change": change}, given, more)

    def _add(self, head: dict[str, Any], given: Any, more: dict[str, Any]) -> None:
        assert all(one["name"] != head["name"] for one in self.made), head["name"]
        self.made.append({"form": self.form} | head | more | {"input": text_of(given)})

    def files(self) -> dict[str, str]:
        """Path below the vectors' folder, and content."""
        return {
            f"{self.form}/{at:03}-{one['name']}.json": json_file(one)
            for at, one in enumerate(self.made, 1)
        }


class Later(Cases):
    """Signatures that are given later: each with the instruction that it is about."""

    def good(self, name: str, what: str, of: str, signature: str, **more: Any) -> None:
        super().good(name, what, signature, of=of, **more)

    def bad(self, name: str, what: str, reason: str, change: str, of: str, signature: str, **more: Any) -> None:
        super().bad(name, what, reason, change, signature, of=of, **more)


def json_file(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
