"""Put sliders in front of a function that draws: a thin layer over ipywidgets that also works without it.

`explore(draw, duplicate=slider(0.1, 0, 0.5))` draws with the initial values, and again whenever a control is moved.
Without ipywidgets or a front end (a notebook that a program executes), the cell shows the first picture.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from lab.base import LabError
from lab.teach.output import display, picture, png

# The result of a function that is explored: a figure, or a figure and a sentence about it.
Drawn = Figure | tuple[Figure, str]


@dataclass(frozen=True)
class Control:
    """A control: a number between two ends, or one of some options. `said` is its label."""

    value: Any
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    options: tuple[Any, ...] = ()
    said: str = ""
    unit: str = ""
    plays: bool = False


def slider(value: float, low: float, high: float, step: float | None = None, said: str = "", unit: str = "") -> Control:
    """Return a control for a number; whole numbers stay whole."""
    whole = all(isinstance(each, int) for each in (value, low, high))
    return Control(value, low, high, step or (1 if whole else (high - low) / 20), (), said, unit)


def choice(value: Any, options: Sequence[Any], said: str = "") -> Control:
    """Return a control for one of some options."""
    return Control(value, options=tuple(options), said=said)


def share(value: float, high: float = 0.5, said: str = "") -> Control:
    """Return a control for a share between 0 and 1, in steps of 0.01."""
    return Control(value, 0.0, high, 0.01, (), said, "share")


def film(value: int, first: int, last: int, said: str = "") -> Control:
    """Return a control for the number of a frame, which can be played."""
    return Control(value, first, last, 1, said=said, plays=True)


def explore(draw: Callable[..., Drawn], /, *, still: Callable[[], Drawn] | None = None, **controls: Control) -> None:
    """Draw with the controls' values, show it, and draw again whenever a control is moved.

    `still` draws what is shown without widgets, if it differs from the first picture.
    """
    values = {name: control.value for name, control in controls.items()}
    image, sentence = _drawn(still, {}) if still else _drawn(draw, values)
    turned = ", ".join(f"{name} = {value}" for name, value in values.items())
    bundle = picture(image, sentence or f"a figure with {turned}")
    if sentence:
        bundle["text/markdown"] = sentence
    try:
        import ipywidgets
    except ModuleNotFoundError:
        display(bundle)
        return
    live = _drawn(draw, values) if still else (image, sentence)
    box = _box(ipywidgets, draw, controls, *live)._repr_mimebundle_()
    # A front end shows the richest type that it can: the widget if a kernel is alive, else the picture.
    display({**(box[0] if isinstance(box, tuple) else box), **bundle})


def _drawn(draw: Callable[..., Drawn], values: Mapping[str, Any]) -> tuple[bytes, str]:
    drawn = draw(**values)
    figure, sentence = drawn if isinstance(drawn, tuple) else (drawn, "")
    return png(figure), sentence


def _box(
    ipywidgets: Any, draw: Callable[..., Drawn], controls: Mapping[str, Control], image: bytes, sentence: str
) -> Any:
    made = {name: _widget(ipywidgets, name, control) for name, control in controls.items()}
    canvas = ipywidgets.Image(value=image, format="png", layout=ipywidgets.Layout(max_width="100%"))
    below = ipywidgets.HTML(value=_sentence(sentence))

    def again(_: Any) -> None:
        try:
            canvas.value, said = _drawn(draw, {name: widget.value for name, widget in made.items()})
            below.value = _sentence(said)
        except LabError as error:
            below.value = f"<b>{html.escape(str(error))}</b>"

    for widget in made.values():
        widget.observe(again, names="value")
    rows = [_played(ipywidgets, made[name]) if control.plays else made[name] for name, control in controls.items()]
    return ipywidgets.VBox([*rows, canvas, below])


def _played(ipywidgets: Any, moved: Any) -> Any:
    """Return a slider with a button that advances it four times a second."""
    play = ipywidgets.Play(min=moved.min, max=moved.max, value=moved.min, interval=250)
    # Linked in the kernel, so playing redraws as moving by hand does.
    play.observe(lambda change: setattr(moved, "value", change["new"]), names="value")
    return ipywidgets.HBox([play, moved])


def _sentence(text: str) -> str:
    return f"<p style='line-height:1.4;max-width:46em'>{html.escape(text)}</p>" if text else ""


def _widget(ipywidgets: Any, name: str, control: Control) -> Any:
    said = control.said or name.replace("_", " ")
    said = f"{said} ({control.unit})" if control.unit and control.unit != "share" else said
    wide: Any = {
        "description": said,
        "style": {"description_width": "16em"},
        "layout": ipywidgets.Layout(width="38em"),
    }
    if control.options:
        return ipywidgets.Dropdown(options=list(control.options), value=control.value, **wide)
    ends: Any = {"value": control.value, "min": control.low, "max": control.high, "step": control.step}
    # A slow experiment would lag behind a dragged slider, so it runs when the slider is released.
    if isinstance(control.value, int):
        return ipywidgets.IntSlider(**ends, continuous_update=False, **wide)
    form = ".0%" if control.unit == "share" else ".3g"
    return ipywidgets.FloatSlider(**ends, continuous_update=False, readout_format=form, **wide)
