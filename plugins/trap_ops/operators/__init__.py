"""Airflow operators: open the context, call one stage, map errors, return a small value."""
