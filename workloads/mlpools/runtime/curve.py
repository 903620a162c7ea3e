"""The learning curve of a finished job as a picture."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Sequence

from mlpools.train.history import Row
from mlpools.train.reporter import log

CURVE = "learning_curve.png"

_SECONDS = 10.0
#: A screen has no more.
_POINTS = 2_000
_PANELS = 8
_DPI = 120


def learning_curve(rows: Sequence[Row], best_step: int = 0) -> bytes | None:
    """Draw one panel a metric, with a curve for each set, as a PNG.

    It is an extra: what keeps it from being drawn, or from being drawn soon, is said in the log and is no
    fault of the job.

    Args:
        rows: the history.
        best_step: step whose model counts, 0 = the last one.

    Returns:
        The picture, or None.
    """
    drawn: list[bytes | None] = []
    thread = threading.Thread(target=lambda: drawn.append(_try(rows, best_step)), daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if not drawn:
        log(f"no learning curve: it was not drawn within {_SECONDS:.0f} s")
    return drawn[0] if drawn else None


def _try(rows: Sequence[Row], best_step: int) -> bytes | None:
    panels = _panels(rows)
    if not panels:
        return None
    try:
        return _draw(panels, best_step)
    except ModuleNotFoundError as error:
        log(f"no learning curve: this image has no {error.name}")
    except Exception as error:
        log(f"no learning curve: {type(error).__name__}: {error}")
    return None


#: metric -> name of the curve -> steps and values
_Panels = dict[str, dict[str, tuple[list[float], list[float]]]]


def _panels(rows: Sequence[Row]) -> _Panels:
    """Sort the curves by metric: ``train-rmse`` and ``eval-rmse`` share a panel. One point is no curve."""
    stride = max(1, math.ceil(len(rows) / _POINTS))
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in [*rows[:-1:stride], *rows[-1:]]:
        for name, value in row.items():
            if name != "step" and isinstance(value, (int, float)) and math.isfinite(value):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    panels: _Panels = {}
    for name, curve in curves.items():
        if len(curve[0]) > 1:
            panels.setdefault(name.rpartition("-")[2], {})[name] = curve
    return dict(list(panels.items())[:_PANELS])


def _draw(panels: _Panels, best_step: int) -> bytes:
    # Not through pyplot: it keeps every figure, and chooses a back end by the machine's screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 3.2 * len(panels)), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, (metric, curves) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items()):
        for name, (steps, values) in curves.items():
            axes.plot(steps, values, label=name, linewidth=1.6)
        if best_step:
            axes.axvline(best_step, color="0.5", linestyle=":", label=f"best: {best_step}")
        axes.set_ylabel(metric)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    axes.set_xlabel("step")
    png = io.BytesIO()
    canvas.print_png(png)
    return png.getvalue()
