"""The public test suite for HTTP caches, run against our response cache and against others.

    $ python -m tests.conformance                     # ours, and each other cache that is installed
    $ python -m tests.conformance --ours              # ours alone, in half a minute; this is in the full run
    $ python -m tests.conformance --server varnish    # only this one; may be repeated
    $ python -m tests.conformance --ours --test cc-resp-no-store
    $ python -m tests.conformance --write-docs        # also puts the table into docs/response-cache.md

The suite is https://cache-tests.fyi. It has a server of its own, which each cache is put before as a reverse proxy:
ours as the Django site of project/, whose only view passes every request on. It takes Node.js and npm, and is fetched
once into .run/ at the version that suite.py names. Of the others, those are run that are installed: nginx, varnishd,
traffic_server, squid, apache2.

Its tests are of three kinds. What is `required` is what it reads in the RFCs; what is `optimal` would save requests; a
`check` only asks how caches behave. The table counts the first two: what is `untested` rests on another test that was
not passed. What ours does not pass is named, with the reason from reasons.py. The command ends with 1 when a required
test is not passed and has none there, with 2 when nothing could be run.

suite.py gets the suite and runs it (run.mjs, in Node.js), serving.py starts servers, peers.py knows the other caches,
scoring.py judges what each test came to, report.py writes it down.
"""
