"""The front door: command line, composition, embedded nats-server, demo."""
