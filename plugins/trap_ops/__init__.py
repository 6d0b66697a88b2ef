"""A radio transients pipeline: images of the sky in, light curves and transient candidates out."""

__version__ = "0.1.0"
