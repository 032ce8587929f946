"""Algorithms and data model: numpy, scipy, SimpleITK and vtk; neither slicer nor Qt."""
