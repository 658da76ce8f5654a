"""Submitted jobs side by side: Milepost's runner, taskiq-nats, and Celery on Redis for reference."""
