"""A site whose only view passes each request on to another server: all that there is to see is the response cache."""
