"""The MRML side: data in and out of a 3D Slicer scene, and pictures of it; no Qt.

The modules work inside the application and, after :func:`startup.start`, without it.
"""
