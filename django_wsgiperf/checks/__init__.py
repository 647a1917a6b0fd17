"""The numbered system checks: what is wrong or unwise in a project's settings, and what to write instead.

`CHECKS` at the end is the table of all of them, from which docs/checks.md is made; the rules are in `project`,
`cache`, `database`, `deployment`, `exports`, `timing` and `capacity`. `register` hands them to Django, under the tag
`wsgiperf`. Checks read settings only: none imports the project's application, and none opens a connection but those of
`capacity`, which have Django's tag `database` and run when it is told which databases to check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from inspect import cleandoc

from django.core import checks

from django_wsgiperf import conf
from django_wsgiperf.checks import cache, capacity, database, deployment, exports, project, timing
from django_wsgiperf.checks.facts import Finding, can_pool, databases
from django_wsgiperf.conf import ConfigurationError, ProblemKind, ServerSettings
from django_wsgiperf.db.settings import pool_settings

TAG = "wsgiperf"
Rule = Callable[[ServerSettings], Iterable[Finding]]
#: A rule that asks the databases whose aliases it is given.
Question = Callable[[ServerSettings, Collection[str]], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One numbered check. Those that report a wrong setting have neither a `rule` nor a `question`."""

    level: type[checks.Error | checks.Warning | checks.Info]
    title: str
    rule: Rule | None = None
    explanation: str = ""
    deploy: bool = False
    question: Question | None = None

    @property
    def text(self) -> str:
        """The explanation, for people."""
        return cleandoc(self.explanation or getattr(self.rule or self.question, "__doc__", None) or "")


def register() -> None:
    """Add the checks to Django's registry. Doing it twice changes nothing."""
    checks.register(check_project, TAG)
    checks.register(check_deployment, TAG, deploy=True)
    # Not under our tag as well: Django 6.1 gives every database to the checks of a tag that is asked for by name.
    checks.register(check_databases, checks.Tags.database)


def check_project(app_configs: object = None, **kwargs: object) -> list[checks.CheckMessage]:
    """Every problem of the configuration; when there is none, what else is wrong in every environment."""
    problems: list[conf.Problem] = []
    for section in conf.SECTIONS:
        try:
            conf.current(section)
        except ConfigurationError as error:
            problems += error.problems
    problems += _problems_of_databases()
    if problems:
        # Each section reports what belongs to none, such as an unknown environment variable.
        return [_problem_message(problem) for problem in dict.fromkeys(problems)]
    return _run(deploy=False)


def _problems_of_databases() -> Iterator[conf.Problem]:
    """What is wrong in the POOL of each database that can have one."""
    for alias, settings in databases():
        try:
            if can_pool(str(settings["ENGINE"])):
                pool_settings(alias, settings)
        except ConfigurationError as error:
            yield from error.problems


def check_deployment(app_configs: object = None, **kwargs: object) -> list[checks.CheckMessage]:
    """What is unwise in production only. A wrong configuration is `check_project`'s to report."""
    try:
        return _run(deploy=True)
    except ConfigurationError:
        return []


def check_databases(
    app_configs: object = None, databases: Collection[str] | None = None, **kwargs: object
) -> list[checks.CheckMessage]:
    """What the databases themselves say. Without `databases`, which `check --database` and `migrate` give, nothing."""
    if not databases:
        return []
    try:
        values = conf.server_settings()
        return [
            check.level(message, hint=hint, id=name)
            for name, check in CHECKS.items()
            if check.question is not None
            for message, hint in check.question(values, databases)
        ]
    except ConfigurationError:
        return []


def _run(*, deploy: bool) -> list[checks.CheckMessage]:
    values = conf.server_settings()
    return [
        check.level(message, hint=hint, id=name)
        for name, check in CHECKS.items()
        if check.rule is not None and check.deploy is deploy
        for message, hint in check.rule(values)
    ]


def _problem_message(problem: conf.Problem) -> checks.CheckMessage:
    message = f"{problem.key}: {problem.message}. Set by: {problem.origin}."
    hint = problem.remedy[0].upper() + problem.remedy[1:] + "."
    return checks.Error(message, hint=hint, id=PROBLEM_IDS[problem.kind])


PROBLEM_IDS = {
    ProblemKind.UNKNOWN: "wsgiperf.E001",
    ProblemKind.TYPE: "wsgiperf.E002",
    ProblemKind.RANGE: "wsgiperf.E003",
    ProblemKind.FORMAT: "wsgiperf.E004",
    ProblemKind.CONFLICT: "wsgiperf.E005",
}


CHECKS: dict[str, Check] = {
    "wsgiperf.E001": Check(
        checks.Error,
        "unknown section, key or environment variable",
        explanation="A name in `WSGIPERF`, or an environment variable that begins with `WSGIPERF_`, is not "
        "known. The hint has the nearest valid name. The value is not shown: it may be a secret.",
    ),
    "wsgiperf.E002": Check(
        checks.Error,
        "value of the wrong type",
        explanation="A number is written as a text, a text stands where a list belongs, a value is not a "
        "number, or a unit does not exist.",
    ),
    "wsgiperf.E003": Check(
        checks.Error,
        "value out of range",
        explanation="A number is outside its limits, or a text is no choice.",
    ),
    "wsgiperf.E004": Check(
        checks.Error,
        "malformed value, or missing file",
        explanation="An address, network, path or token is not written as it must be, or a file is missing.",
    ),
    "wsgiperf.E005": Check(
        checks.Error,
        "options that contradict each other",
        explanation="Each value is valid, and together they cannot be meant. The option that was set most "
        "deliberately is named first, the others with their values and origins after it.",
    ),
    "wsgiperf.E006": Check(checks.Error, "application not found", project.wsgi_application_is_found),
    "wsgiperf.E007": Check(checks.Error, "persistent connections and a pool", database.connections_belong_to_the_pool),
    "wsgiperf.E008": Check(checks.Error, "two pools", database.one_pool_is_enough),
    "wsgiperf.E009": Check(checks.Error, "validator not found", database.validators_are_found),
    "wsgiperf.E010": Check(checks.Error, "store that cannot be shared", cache.store_can_be_shared),
    "wsgiperf.E011": Check(checks.Error, "route namer not found", timing.route_namer_is_found),
    "wsgiperf.E012": Check(checks.Error, "store of the metrics not found", timing.store_is_there),
    "wsgiperf.W001": Check(checks.Warning, "no application named", project.wsgi_application_is_named),
    "wsgiperf.W002": Check(
        checks.Warning, "fewer pooled connections than threads", project.native_pool_is_large_enough
    ),
    "wsgiperf.W003": Check(checks.Warning, "jitter without a limit", project.jitter_has_something_to_vary),
    "wsgiperf.W004": Check(
        checks.Warning,
        "fewer pooled connections than threads, with ATOMIC_REQUESTS",
        database.atomic_requests_find_a_connection,
    ),
    "wsgiperf.W005": Check(checks.Warning, "pool without its middleware", database.middleware_is_there),
    "wsgiperf.W006": Check(checks.Warning, "middleware out of order", database.middleware_is_outside),
    "wsgiperf.W007": Check(checks.Warning, "POOL without an engine for it", database.pools_have_an_engine),
    "wsgiperf.W008": Check(checks.Warning, "cache middleware out of order", cache.middleware_is_outermost),
    "wsgiperf.W009": Check(checks.Warning, "compression inside the cache", cache.bodies_are_compressed_once),
    "wsgiperf.W010": Check(
        checks.Warning,
        "too many threads for a core",
        deployment.threads_are_worth_their_switches,
        deploy=True,
    ),
    "wsgiperf.W011": Check(checks.Warning, "a connection per request", deployment.connections_are_kept, deploy=True),
    "wsgiperf.W012": Check(checks.Warning, "public statistics", deployment.statistics_are_not_public, deploy=True),
    "wsgiperf.W013": Check(checks.Warning, "short statistics token", deployment.statistics_token_is_long, deploy=True),
    "wsgiperf.W014": Check(checks.Warning, "reload in production", deployment.reload_is_off, deploy=True),
    "wsgiperf.W015": Check(checks.Warning, "every address trusted", deployment.only_proxies_are_trusted, deploy=True),
    "wsgiperf.W016": Check(checks.Warning, "no request deadline", deployment.requests_have_a_deadline, deploy=True),
    "wsgiperf.W017": Check(
        checks.Warning,
        "keep-alive shorter than the proxy's",
        deployment.keepalive_outlasts_the_balancer,
        deploy=True,
    ),
    "wsgiperf.W018": Check(checks.Warning, "database in memory", deployment.sqlite_is_on_disk, deploy=True),
    "wsgiperf.W019": Check(
        checks.Warning, "cache not shared by workers", deployment.workers_share_a_cache, deploy=True
    ),
    "wsgiperf.W020": Check(
        checks.Warning,
        "forwarding header from anyone",
        deployment.forwarding_headers_have_a_source,
        deploy=True,
    ),
    "wsgiperf.W021": Check(
        checks.Warning, "more connections than the server allows", question=capacity.server_allows_all_connections
    ),
    "wsgiperf.W022": Check(checks.Warning, "two caches of pages", cache.one_cache_is_enough),
    "wsgiperf.W023": Check(checks.Warning, "store that unpickles", cache.store_is_not_unpickled, deploy=True),
    "wsgiperf.W024": Check(checks.Warning, "pages not shared by workers", cache.workers_share_pages, deploy=True),
    "wsgiperf.W025": Check(checks.Warning, "OTLP without its exporter", exports.otlp_exporter_is_installed),
    "wsgiperf.W026": Check(checks.Warning, "timing middleware not first", timing.middleware_is_first),
    "wsgiperf.W027": Check(
        checks.Warning, "Server-Timing for everybody", timing.timing_is_not_for_everybody, deploy=True
    ),
    "wsgiperf.W028": Check(checks.Warning, "uWSGI without threads", timing.threads_may_run),
    "wsgiperf.W029": Check(checks.Warning, "silence without an end", deployment.silence_has_an_end, deploy=True),
    "wsgiperf.I001": Check(checks.Info, "no pool for a database in memory", database.memory_is_left_alone),
    "wsgiperf.I002": Check(checks.Info, "metrics without prometheus-client", exports.prometheus_client_is_installed),
}
