"""Comparing two runs of an image classifier: accuracy on the same validation samples."""

from stages.evaluation.experiments import VALIDATION_PREDICTIONS, compare_classifiers

COMPARABLE = ()
RESULTS = VALIDATION_PREDICTIONS
compare = compare_classifiers
