"""The walkthrough of a task's training: a page of text and Python, its notebook, its exercises."""
