"""NETAblation's logic layer: image-guided tumor ablation, from images to margins.

Layers, arrows pointing down only: ``scene`` (MRML nodes and views) stands on ``core``
(algorithms and data model). ``core`` needs neither slicer nor Qt, ``scene`` no Qt.
"""

__version__ = "0.1.0"
