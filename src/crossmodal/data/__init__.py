"""Package data: recipes, budgets, JSON schemas (`make schemas` writes them), templates, measured times and SDs."""

from importlib.resources import files
from pathlib import Path

DATA = Path(str(files(__name__)))
METHODS, BUDGETS, SCHEMAS, TEMPLATES = (DATA / name for name in ("methods", "budgets", "schemas", "templates"))
STEP_TIMES = DATA / "step_times.json"  # written by bench/run.py
DICE_SPREAD = DATA / "dice_spread.csv"  # written by bench/spread.py
