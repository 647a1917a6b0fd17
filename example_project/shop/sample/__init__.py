"""The shop's sample data: word lists, the factories that draw from them, and the filling of an empty shop."""
