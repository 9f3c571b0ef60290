"""Comparing two runs of a text classifier: accuracy on the same validation samples."""

from stages.evaluation.experiments import VALIDATION_PREDICTIONS, compare_classifiers

COMPARABLE = ()
RESULTS = VALIDATION_PREDICTIONS
compare = compare_classifiers
