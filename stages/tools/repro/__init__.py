"""`evidence repro`: the stages of the pipeline, those that do not depend on each other side by side."""
