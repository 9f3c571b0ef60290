"""The metrics of classifiers, by name."""

# What `evaluate.metric` may be, and its name in prose.
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
