"""The store behind a server: the same ports over HTTP, so that a client needs neither database nor bucket credentials."""
