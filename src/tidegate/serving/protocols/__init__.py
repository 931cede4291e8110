"""How requests and answers look on the wire, one file per protocol. Pure: bytes in, bytes out."""
