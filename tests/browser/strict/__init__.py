"""The bookshop under a strict Content-Security-Policy, in the visitor's language, and with a page that takes long."""
