"""The command `evidence grade`: learners' repositories against a rubric."""
