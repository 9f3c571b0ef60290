"""Sentiment analysis."""
