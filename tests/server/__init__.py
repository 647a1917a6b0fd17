"""Tests of the server. Those without sockets come first: heads, bodies, the pool; then the whole server."""
