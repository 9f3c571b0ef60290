"""The evidence pack: artifacts, sections, charts, and documents as Markdown and HTML."""
