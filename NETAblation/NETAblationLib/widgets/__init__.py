"""Pieces of Qt: what the panels share, and the sections of panels; they run inside 3D Slicer only."""
