"""The stages of the pipeline: load, compute, save. One file a stage; idempotent; no Airflow."""
