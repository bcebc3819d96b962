"""Cut the glyphs of the page's labels out of Noto Sans CJK SC.

    python benchmarks/subset_font.py /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc

Needs fonttools (matplotlib brings it) and the font (Debian: fonts-noto-cjk). Run it again when
``tests/report/test_take_away.py`` says that a label has a character which the font lacks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection

from factorlab.report.labels_font import FAMILY, FONT, label_characters

SOURCE_FAMILY = "Noto Sans CJK SC"


def main() -> None:
    """Write the font of the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path, help="NotoSansCJK-Regular.ttc")
    collection = TTCollection(str(parser.parse_args().collection))
    (font,) = [f for f in collection.fonts if f["name"].getDebugName(1) == SOURCE_FAMILY]
    options = subset.Options()
    # No layout features: labels are drawn glyph by glyph.
    options.layout_features = []
    options.hinting = False
    options.desubroutinize = True
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 6, 13, 14]
    options.name_languages = [0x409]
    cutter = subset.Subsetter(options)
    cutter.populate(text=label_characters())
    cutter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4):
            record.string = FAMILY
        elif record.nameID == 6:
            record.string = FAMILY.replace(" ", "-")
    font["CFF "].cff.fontNames = [FAMILY.replace(" ", "-")]
    for table in ("BASE", "VORG", "vhea", "vmtx", "GDEF", "DSIG"):
        if table in font:
            del font[table]
    # The time of the source, so that the same labels give the same bytes.
    font.recalcTimestamp = False
    font.save(FONT)
    print(f"{FONT}: {FONT.stat().st_size:,} bytes, {len(font.getGlyphOrder())} glyphs")


if __name__ == "__main__":
    main()
