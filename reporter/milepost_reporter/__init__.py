"""Report a job's progress over NATS, without ever hurting the job."""
