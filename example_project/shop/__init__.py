"""The bookshop: a catalogue to read, a basket and an account to use, an API, a live feed and an admin."""
