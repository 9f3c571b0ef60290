"""A verification as a signed statement, and the statements that a repository keeps."""
