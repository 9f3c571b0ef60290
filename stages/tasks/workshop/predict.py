"""Predict the class of image files with the headline model."""

from stages.shared.images.predicting import predict_files as predict

__all__ = ["predict"]
