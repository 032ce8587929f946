"""Pieces of Qt that more than one module uses; they run inside 3D Slicer only."""
