"""Run submitted jobs anywhere, with NATS as the queue."""
