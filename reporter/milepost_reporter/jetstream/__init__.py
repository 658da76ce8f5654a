"""A connection to NATS that never gives up, and JetStream by raw requests over it: for bridge and runner."""
