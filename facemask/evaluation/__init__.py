"""Metrics, decision rule and figures."""
