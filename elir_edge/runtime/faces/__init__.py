"""Faces in photos: found, aligned, restored one by one, and pasted back.

from elir_edge.runtime import Restorer, ready_bundle
from elir_edge.runtime.faces import FaceFinder, restore_faces

with Restorer(ready_bundle("bfr")) as restorer, FaceFinder() as finder:
    result = restore_faces(image, restorer, finder)
"""

from elir_edge.runtime.faces.finder import Face, FaceFinder
from elir_edge.runtime.faces.restore import FaceRestorer, FacesResult, restore_faces

__all__ = ["Face", "FaceFinder", "FaceRestorer", "FacesResult", "restore_faces"]
