"""Request timing: record -> aggregate -> store -> query. What is measured, how it is summed, kept and read again.

The request path fills one Record and appends it to a deque; everything else happens in a thread of its own. instruments
and middleware fill records, aggregate sums them, stores keep the sums, rollup makes them coarser with age, query reads
them for the admin page, the exports and the command. Nothing here imports the server, the pool or the response cache:
they report to record.
"""
