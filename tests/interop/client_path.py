"""Puts examples/python on the import path: the suite drives the very code integrators copy."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "examples" / "python"
if str(CLIENT) not in sys.path:
    sys.path.insert(0, str(CLIENT))
