"""What measuring costs, beside django-prometheus and django-silk; and what its sums cost to make and to read."""
