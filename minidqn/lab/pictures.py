"""What a film is made of: its pictures, the chart below them, and in the end the GIF.

A picture is what an environment drew, under a caption. Pictures are RGB images of
Pillow's, WIDTH pixels wide; y counts pixels downwards, as everywhere in Pillow. Pillow
comes with Matplotlib.
"""

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minidqn.lab.plotting import GREY, distinct_colors
from minidqn.nn.layers import Array

# All in pixels.
WIDTH = 300  # of a picture
GAP = 4  # between two pictures
STRIP = 28  # the height of the caption
CHART = 96  # the height of a chart, or more if there are many actions
LEFT = 46  # where the lines of a chart begin
RIGHT = 220  # and where they end
NAME = 15  # the height of an action's name


def picture(drawn: Any, caption: str, over: bool) -> Image.Image:
    """What the environment drew, under a caption; dimmed if the episode is over.

    `drawn` is what env.render() returned; see as_bytes.
    """
    colors = as_bytes(np.asarray(drawn))
    rows, columns = colors.shape[:2]
    height = round(WIDTH * rows / columns)
    # the cells of a small grid, as MinAtar's, stay sharp
    resampling = Image.Resampling.NEAREST if rows < 50 else Image.Resampling.BICUBIC
    scaled = Image.fromarray(colors).resize((WIDTH, height), resampling)

    image = Image.new("RGB", (WIDTH, STRIP + height), "white")
    image.paste(scaled, (0, STRIP))
    if over:
        image = Image.blend(image, Image.new("RGB", image.size, GREY), 0.4)
        caption += ", ended"
    font = fitting_font(caption, 17, WIDTH - 16)
    ImageDraw.Draw(image).text((8, 3), caption, "black", font)
    return image


def as_bytes(colors: Array) -> Array:
    """Colours as uint8, 0 to 255: (H, W, 3), or (H, W) and (H, W, 1), which are grey.

    Integers of any type are 0 to 255 already. Floats are 0 to 1, or else, if any
    is above 1, 0 to 255. Booleans are black and white.
    """
    if colors.ndim == 3 and colors.shape[2] == 1:
        colors = colors[:, :, 0]
    if colors.dtype == np.bool_:
        colors = np.where(colors, 255, 0)
    elif np.issubdtype(colors.dtype, np.floating) and colors.max() <= 1.0:
        colors = 255.0 * colors
    return np.clip(colors, 0, 255).astype(np.uint8)


@cache
def font_of(size: int) -> Any:
    """Pillow's own font. It takes a millisecond to load, which is long for a film."""
    return ImageFont.load_default(size)


def fitting_font(text: str, size: int, room: float) -> Any:
    """A font of this size, or a smaller one if the text would be wider than `room`."""
    while font_of(size).getlength(text) > room and size > 1:
        size -= 1
    return font_of(size)


def with_chart(
    image: Image.Image, q: Array, step: int, names: Sequence[str]
) -> Image.Image:
    """A film's picture at `step`, and below it a chart of the Q-values until then.

    q, (T, A), is of the whole film, so that all its charts have the same scale. Each
    action has a line, and its name at the right. A dot marks the best action.
    """
    height = max(CHART, NAME * len(names))
    bottom = image.height + height
    whole = Image.new("RGB", (WIDTH, bottom), "white")
    whole.paste(image, (0, 0))
    draw = ImageDraw.Draw(whole)

    low = q.min()
    high = q.max()
    draw.text((3, image.height), f"{high:.2f}", GREY, font_of(12))
    draw.text((3, bottom - 16), f"{low:.2f}", GREY, font_of(12))

    shown = (RIGHT - LEFT) // 2  # steps; there are two pixels for each
    recent = q[max(step - shown, 0) : step + 1]  # (S, A)
    x = RIGHT - 2 * np.arange(len(recent))[::-1]  # (S,): the newest is at the right
    fraction = (recent - low) / max(high - low, 1e-9)  # (S, A), 0 to 1
    y = bottom - 6 - fraction * (height - 12)  # (S, A)
    best = recent[-1].argmax()
    for action, color in enumerate(distinct_colors(len(names))):
        points = list(zip(x.tolist(), y[:, action].tolist(), strict=True))
        draw.line(points, color, 2)
        top = image.height + NAME * action
        font = fitting_font(names[action], 12, WIDTH - RIGHT - 22)
        draw.text((RIGHT + 18, top), names[action], color, font)
        if action == best:
            draw.ellipse((RIGHT + 6, top + 4, RIGHT + 14, top + 12), color)
    return whole


def side_by_side(films: Sequence[Sequence[Image.Image]]) -> list[Image.Image]:
    """Several films as one. The last picture of a shorter film stays."""
    width, height = films[0][0].size
    frames = []
    for i in range(max(len(film) for film in films)):
        frame = Image.new("RGB", ((width + GAP) * len(films) - GAP, height), GREY)
        for column, film in enumerate(films):
            shown = film[min(i, len(film) - 1)]
            frame.paste(shown, ((width + GAP) * column, 0))
        frames.append(frame)
    return frames


def as_gif(frames: Sequence[Image.Image], milliseconds: int) -> bytes:
    """The content of a GIF file: each frame is shown that long, and it never ends."""
    few_colors = [frame.quantize(64, dither=Image.Dither.NONE) for frame in frames]
    file = BytesIO()
    few_colors[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=few_colors[1:],
        duration=milliseconds,
        loop=0,  # for ever
        optimize=True,
    )
    return file.getvalue()
