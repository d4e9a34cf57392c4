"""The colours a card can have; each palette was put together by hand and is legible on its own background."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from asyncjobs.demo.faces import SANS, SERIF, Face


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as #rrggbb, and the face that becomes them."""

    name: str
    face: Face
    upper: str
    """The background at the top left, and below, at the bottom right."""
    lower: str
    glows: tuple[str, str]
    """Two soft lights in the background."""
    title: str
    muted: str
    inks: tuple[str, str, str, str, str]
    """Of the words; the first is for the commonest."""


PALETTES = (
    Palette(
        "saffron", SANS, "#fff9e8", "#fbe8bf", ("#ffffff", "#f9c98a"), "#5a2a0a", "#7d6647",
        ("#a53f12", "#23445a", "#8a5a00", "#5a6420", "#8c2f45"),
    ),
    Palette(
        "pine", SERIF, "#0d2320", "#173a34", ("#2f6a57", "#5b5a2a"), "#f4efd9", "#9dbcae",
        ("#f3e6b8", "#f0a868", "#a5dcba", "#ee8a70", "#86ccc8"),
    ),
    Palette(
        "midnight", SANS, "#0e1a2e", "#1b2a4a", ("#2f4d86", "#4a2f6b"), "#f6f1e4", "#98a6c2",
        ("#f7d488", "#8ec9ee", "#f4f1ea", "#f49f8b", "#9fdcbb"),
    ),
    Palette(
        "harbour", SANS, "#fbf8f1", "#efe8d9", ("#ffffff", "#cfe0e3"), "#12304a", "#5f6b73",
        ("#12446b", "#c0532b", "#1d7283", "#7a5c2e", "#41597a"),
    ),
    Palette(
        "glacier", SERIF, "#f5f9fb", "#dce9ef", ("#ffffff", "#c3d4ee"), "#0d3450", "#586d7c",
        ("#0c4166", "#1f7489", "#5c4a91", "#b8404f", "#2b6a5b"),
    ),
    Palette(
        "plum", SANS, "#221733", "#3a2249", ("#6a3b7d", "#8a3b55"), "#fff3e3", "#b9a4c6",
        ("#ffd39a", "#ffa8a8", "#d3b8fb", "#a4e6da", "#fdf6e9"),
    ),
    Palette(
        "rosewood", SERIF, "#fdf5f1", "#f6e2da", ("#ffffff", "#f3c9c2"), "#57172f", "#80646a",
        ("#7a1c3c", "#b4463c", "#3c3a5e", "#8a5836", "#2e646a"),
    ),
    Palette(
        "ink", SERIF, "#f8f7f3", "#ebe9e2", ("#ffffff", "#dcd8cc"), "#1c1c1e", "#6a6964",
        ("#1c1c1e", "#bf1f2f", "#57585c", "#7d6a4a", "#34475a"),
    ),
)  # fmt: skip


def palette_for(digest: str) -> Palette:
    """The palette of a text by its digest in hex."""
    return PALETTES[hashlib.sha256(f"hue {digest}".encode()).digest()[0] % len(PALETTES)]
