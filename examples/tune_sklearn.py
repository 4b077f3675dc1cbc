# SPDX-License-Identifier: BSD-3-Clause
"""Tunes a model of scikit-learn: a whole number, a rate on a logarithmic scale and a choice, in a stream.

Why: some of these models train ten times as long as others. In `mode="stream"` nobody waits for the slowest: as each
score comes, the next candidate goes out.

Run it with `python examples/tune_sklearn.py`; it needs `pip install scikit-learn`.
"""

import sys
from typing import Any

import covey
from covey.swarm import Choice, Integer, Real

SPACE = {
    "trees": Integer(10, 60),
    "rate": Real(1e-3, 1.0, log=True),
    "depth": Integer(1, 6),
    "loss": Choice(["log_loss", "exponential"]),
}


def score(trees: int, rate: float, depth: int, loss: str, shared_data: dict[str, Any]) -> float:
    """How well the model does on data that it has not seen, for one candidate."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import cross_val_score

    model = GradientBoostingClassifier(
        n_estimators=trees, learning_rate=rate, max_depth=depth, loss=loss, random_state=0
    )
    return float(cross_val_score(model, shared_data["x"], shared_data["y"], cv=3).mean())


def main() -> int:
    try:
        from sklearn.datasets import make_classification
    except ImportError:
        print("This example needs scikit-learn: pip install scikit-learn")
        return 0
    x, y = make_classification(n_samples=200, n_features=12, n_informative=6, random_state=1)

    found = covey.maximize(
        score, SPACE, shared_data={"x": x, "y": y}, vectorized=False, mode="stream", group_size=20, budget=40,
        timeout=12, seed=1,
    )

    print(found)
    print(f"\nThe best of {found.evaluations} candidates scores {found.best['fitness']:.3f}: {found.best}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
