"""The organs around the liver, as layers that are painted one over the other.

A layer gives a level on broadcast coordinates (below zero inside), the box that holds it, its
label, and its HU in the three images; organs with contents are several layers.
"""

from __future__ import annotations

import numpy as np

from .anatomy import Torso, ball, smooth_max, smooth_min
from .layers import EVERYWHERE_MM, Box, Field, Layer, LevelOnGrid
from .tissues import HU, Contrast, Label


def trunk_layers(torso: Torso) -> list[Layer]:
    """Body, wall, lungs: the layers that take up no contrast to speak of."""
    box: Box = ((-200.0, -150.0, -EVERYWHERE_MM), (200.0, 150.0, EVERYWHERE_MM))
    skin = torso.skin
    return [
        Layer(box, skin, Label.SKIN, HU["skin"]),
        Layer(box, lambda x, y, z: skin(x, y, z) + 2.0, Label.FAT, HU["fat"], 5.0),
        Layer(box, torso.muscle, Label.MUSCLE, HU["muscle"], 5.0),
        Layer(box, lambda x, y, z: torso.cavity(x, y, z) + 2.5, Label.INNER_FAT, HU["inner_fat"], 6.0),
    ]


def table_layers() -> list[Layer]:
    """A curved couch: two thin shells around foam."""

    def arc(x: Field, y: Field, z: Field) -> Field:
        return np.sqrt(x * x + (y - 380.0) ** 2) - 506.0 + 0.0 * z

    top: Box = ((-205.0, -190.0, -EVERYWHERE_MM), (205.0, -60.0, EVERYWHERE_MM))

    def between(low: float, high: float) -> LevelOnGrid:
        return lambda x, y, z: np.maximum(np.maximum(low - arc(x, y, z), arc(x, y, z) - high), np.abs(x) - 200.0)

    return [
        Layer(top, between(0.0, 34.0), Label.TABLE, HU["table_core"]),
        Layer(top, between(0.0, 2.4), Label.TABLE, HU["table"]),
        Layer(top, between(31.6, 34.0), Label.TABLE, HU["table"]),
    ]


def lung_layers(torso: Torso) -> list[Layer]:
    """Lungs, and the muscle of the diaphragm and the flanks beneath them."""
    chest: Box = ((-165.0, -110.0, -60.0), (165.0, 110.0, EVERYWHERE_MM))

    def dome(x: Field, y: Field, z: Field) -> Field:
        sheet = np.maximum(np.abs(torso.diaphragm(x, y, z) + 1.4) - 1.4, torso.cavity(x, y, z))
        # It ends where it is attached: high on the costal arch in front, low at the crura behind.
        return np.maximum(sheet, 0.5 * y - 18.0 - z)

    return [
        Layer(chest, dome, Label.MUSCLE, HU["diaphragm"], 3.0),
        Layer(chest, torso.lung, Label.LUNG, HU["lung"], 22.0),
    ]


def muscle_layers(torso: Torso) -> list[Layer]:
    """Psoas, the muscles beside the spine with fat between them, and the crura."""

    def psoas(x: Field, y: Field, z: Field) -> Field:
        depth = np.maximum(-12.0 - z, 0)
        half = 3.0 + 0.16 * depth
        side = np.abs(x) - 30.0 - 0.07 * depth
        return smooth_max((np.sqrt((side / 0.95) ** 2 + (y + 52.0) ** 2) - half), z + 14.0, 4.0)

    def crus(x: Field, y: Field, z: Field) -> Field:
        side = np.sqrt((np.abs(x + 4.0) - 17.0) ** 2 + (0.45 * (y + 32.0)) ** 2) - 3.6 + 0.02 * np.maximum(-z, 0)
        return smooth_max(smooth_max(side, -(z + 62.0), 5.0), z - 58.0, 5.0)

    def gap(x: Field, y: Field, z: Field) -> Field:
        plane = np.abs(np.abs(x) - 40.0 - 0.25 * (y + 86.0)) - 1.1
        return np.maximum(np.maximum(plane, np.abs(y + 86.0) - 9.0), -1.0 + 0.0 * z)

    back: Box = ((-75.0, -105.0, -EVERYWHERE_MM), (75.0, -10.0, EVERYWHERE_MM))
    return [
        Layer(back, psoas, Label.MUSCLE, HU["muscle"], 5.0),
        Layer(back, crus, Label.MUSCLE, HU["muscle"], 4.0),
        Layer(back, gap, Label.FAT, HU["fat"]),
    ]


def vessel_and_heart_layers(torso: Torso) -> list[Layer]:
    """Heart with chambers, aorta and inferior vena cava."""
    heart: Box = ((-85.0, -40.0, 30.0), (45.0, 90.0, EVERYWHERE_MM))

    def turned(x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Coordinates along the heart's long axis (to the left, front and below) and across."""
        u, v, w = x + 24.0, y - 24.0, z - 92.0
        along = -0.70 * u + 0.58 * v - 0.42 * w
        across = 0.60 * u + 0.80 * v + 0.10 * w
        return along, across, 0.39 * u - 0.18 * v + 0.90 * w

    def outline(x: Field, y: Field, z: Field) -> Field:
        a, b, c = turned(x, y, z)
        return ball(a, b, c, (52.0, 44.0, 46.0))

    def left_chamber(x: Field, y: Field, z: Field) -> Field:
        a, b, c = turned(x, y, z)
        return ball(a - 8.0, b + 13.0, c - 2.0, (34.0, 16.5, 24.0))

    def right_chamber(x: Field, y: Field, z: Field) -> Field:
        a, b, c = turned(x, y, z)
        bean = ball(a - 6.0, b - 19.0, c + 4.0, (36.0, 16.0, 28.0))
        return smooth_max(bean, 11.0 - (b + 8.0), 5.0)

    def right_atrium(x: Field, y: Field, z: Field) -> Field:
        return ball(x - 17.0, y - 8.0, z - 92.0, (20.0, 22.0, 27.0))

    def aorta_box(low: float, high: float) -> Box:
        return ((-45.0, -70.0, low), (22.0, 10.0, high))

    cava: Box = ((2.0, -45.0, -EVERYWHERE_MM), (52.0, 20.0, 82.0))
    return [
        Layer(heart, outline, Label.HEART, HU["myocardium"], 6.0),
        Layer(heart, left_chamber, Label.HEART, HU["heart_blood"], 6.0),
        Layer(heart, right_chamber, Label.HEART, HU["right_heart_blood"], 8.0),
        Layer(heart, right_atrium, Label.HEART, HU["right_heart_blood"], 8.0),
        Layer(aorta_box(-EVERYWHERE_MM, EVERYWHERE_MM), torso.aorta, Label.AORTA, HU["aorta"], 3.0),
        Layer(
            cava,
            torso.cava,
            Label.VENA_CAVA,
            HU["vena_cava"],
            4.0,
            # Renal blood brings the contrast early: the cava is mixed above and dark below.
            lambda x, y, z: np.tanh((z + 30.0) / 14.0) * (1.0 + 0.0 * (x + y)),
            Contrast(28.0, 6.0, 5.0),
        ),
    ]


def hollow_layers(torso: Torso) -> list[Layer]:
    """Gallbladder, stomach: walls, fluid, gas."""
    gallbladder: Box = ((22.0, 5.0, -92.0), (72.0, 85.0, -8.0))
    stomach: Box = ((-120.0, -60.0, -60.0), (20.0, 85.0, 75.0))

    def bile(x: Field, y: Field, z: Field) -> Field:
        u, v, w = x - 47.0, y - 43.0, z + 42.0
        a, c = 0.83 * v - 0.55 * w, 0.55 * v + 0.83 * w
        return ball(u, a, c, (13.0, 26.0 + 2.0 * np.sin(torso.phase[3]), 13.0))

    def sac(x: Field, y: Field, z: Field) -> Field:
        fundus = ball(x + 62.0, y - 2.0, z - 24.0, (37.0, 40.0, 36.0))
        body = ball(x + 46.0, y - 34.0, z + 6.0, (27.0, 30.0, 34.0))
        antrum = ball(x + 14.0, y - 46.0, z + 28.0, (34.0, 19.0, 17.0))
        folds = 1.3 * np.sin(x * 0.33 + torso.phase[4]) * np.sin(y * 0.29) * np.sin(z * 0.31 + torso.phase[5])
        outer = smooth_min(smooth_min(fundus, body, 18.0), antrum, 16.0)
        return smooth_max(outer + 0.3 * folds, torso.diaphragm(x, y, z) + 4.0, 6.0)

    def content(x: Field, y: Field, z: Field) -> Field:
        rugae = 1.6 * np.sin(x * 0.42 + torso.phase[4]) * np.sin(y * 0.37 + 1.0) * np.sin(z * 0.4 + torso.phase[5])
        return sac(x, y, z) + 4.4 + rugae

    def gas(x: Field, y: Field, z: Field) -> Field:
        return np.maximum(content(x, y, z), 20.0 + torso.stomach_fill - y)

    return [
        Layer(gallbladder, bile, Label.GALLBLADDER, HU["gallbladder_wall"]),
        Layer(gallbladder, lambda x, y, z: bile(x, y, z) + 1.4, Label.GALLBLADDER, HU["gallbladder"], 2.0),
        Layer(stomach, sac, Label.STOMACH, HU["stomach_wall"], 4.0),
        Layer(
            stomach,
            content,
            Label.STOMACH,
            HU["stomach_fluid"],
            9.0,
            lambda x, y, z: np.sin(x * 0.21 + y * 0.13) * np.sin(z * 0.17 + y * 0.24 + torso.phase[6]),
            Contrast(14.0, 14.0, 14.0),
        ),
        Layer(stomach, gas, Label.STOMACH, HU["gas"]),
    ]


def solid_layers(torso: Torso) -> list[Layer]:
    """Kidneys with cortex, medulla and sinus; the spleen, mottled in the arterial phase."""
    layers = []
    for side, height in ((1.0, -58.0 + torso.kidney_shift), (-1.0, -44.0 + torso.kidney_shift)):
        layers.extend(_kidney_layers(side, height, torso.phase[6]))

    def spleen(x: Field, y: Field, z: Field) -> Field:
        whole = ball(x + 92.0, y + 30.0, z - 16.0, (40.0, 50.0, 48.0))
        hollow = ball(x + 58.0, y + 4.0, z - 10.0, (42.0, 50.0, 60.0))
        shape = smooth_max(whole, -hollow, 9.0)
        shape = smooth_max(shape, torso.cavity(x, y, z) + 5.0, 6.0)
        return smooth_max(shape, torso.diaphragm(x, y, z) + 4.5, 6.0)

    def mottle(x: Field, y: Field, z: Field) -> Field:
        bend = 2.2 * np.sin(z * 0.12 + torso.phase[7])
        return np.sin(0.42 * (0.8 * x - 0.5 * y) + bend + 1.6 * np.sin(0.13 * y)) * np.cos(0.16 * z + 0.09 * y)

    box: Box = ((-140.0, -90.0, -45.0), (-40.0, 35.0, 72.0))
    layers.append(Layer(box, spleen, Label.SPLEEN, HU["spleen"], 4.0, mottle, Contrast(34.0, 0.0, 0.0)))
    return layers


def _kidney_layers(side: float, height: float, phase: float) -> list[Layer]:
    def local(x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Coordinates with the kidney upright: its upper pole leans inward and back."""
        w = z - height
        return side * x - 62.0 + 0.22 * w, y + 36.0 - 0.16 * w, w

    def turned(x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """The same with the hilum, which looks inward and to the front, along minus u."""
        u, v, w = local(x, y, z)
        return 0.86 * u - 0.5 * v, 0.5 * u + 0.86 * v, w

    def outline(x: Field, y: Field, z: Field) -> Field:
        u, v, w = turned(x, y, z)
        bean = ball(u, v, w, (28.0, 25.5, 54.0))
        return smooth_max(bean, 15.0 - np.sqrt((u + 34.0) ** 2 + (0.55 * w) ** 2), 7.0)

    def sinus(x: Field, y: Field, z: Field) -> Field:
        u, v, w = turned(x, y, z)
        return smooth_min(
            ball(u + 15.0, v, w, (15.0, 7.5, 25.0)), np.maximum(np.hypot(v, 0.6 * w) - 6.0, u + 14.0), 5.0
        )

    def medulla(x: Field, y: Field, z: Field) -> Field:
        u, v, w = turned(x, y, z)
        around = np.arctan2(v, u + 12.0)
        columns = 2.6 * np.cos(5.0 * around + phase) * np.cos(w * 0.27 + phase)
        shell = ball(u, v, w, (28.0, 25.5, 54.0)) + 8.5 + columns
        return np.maximum(shell, 3.0 - sinus(x, y, z))

    low, high = (18.0, 105.0) if side > 0 else (-105.0, -18.0)
    box: Box = ((low, -85.0, height - 64.0), (high, 10.0, height + 64.0))
    return [
        Layer(box, outline, Label.KIDNEY, HU["renal_cortex"], 6.0),
        Layer(box, medulla, Label.KIDNEY, HU["renal_medulla"], 5.0),
        Layer(box, sinus, Label.INNER_FAT, HU["inner_fat"]),
    ]
