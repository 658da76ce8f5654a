"""Celery's tasks as jobs: `report_tasks(app)` in the module that makes the app."""

from milepost_reporter.celery.tasks import report_tasks

__all__ = ["report_tasks"]
