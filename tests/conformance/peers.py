"""The caches that ours is measured beside: how each is found among the installed programs, and made. Starts none.

Each is set up as its makers say, as a reverse proxy that keeps what the answer allows, in memory or in the folder of
its run. What is not the default is there because the suite asks for it: no time for what names none, and what is
stale is kept to be asked about.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests._run.recipes import SYSTEM_PLACES

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=pages:10m max_size=100m inactive=10m use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_cache pages;
            proxy_cache_revalidate on;
        }}
    }}
}}
"""

VARNISH = """\
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}
"""

SQUID = """\
http_port 127.0.0.1:{port} accel defaultsite=127.0.0.1 no-vhost
cache_peer 127.0.0.1 parent {origin} 0 no-query no-digest originserver name=origin
cache_peer_access origin allow all
http_access allow all
cache_mem 64 MB
cache_log {folder}/cache.log
access_log none
pid_filename none
coredump_dir {folder}
pinger_enable off
shutdown_lifetime 1 second
client_idle_pconn_timeout 15 seconds
"""

APACHE = """\
ServerName 127.0.0.1
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule cache_module {modules}/mod_cache.so
LoadModule cache_disk_module {modules}/mod_cache_disk.so
ProxyPass "/" "http://127.0.0.1:{origin}/"
CacheEnable disk /
CacheRoot {folder}/cache
CacheDefaultExpire 0
CacheIgnoreNoLastMod On
CacheStoreExpired On
"""

#: Of its records, what is not as it comes.
TRAFFICSERVER = """\
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.http.insert_request_via_str INT 1
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 2
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.admin.user_id STRING {user}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another cache. `make` writes its files into a folder of its own, and gives the command that runs it there."""

    name: str
    title: str
    program: str
    #: What gives its version, and Debian's package.
    version_option: str
    package: str
    make: Callable[[str, Path, int, int], list[str]]

    def find(self) -> str | None:
        """The path of its program, if it is installed."""
        return shutil.which(self.program) or shutil.which(self.program, path=os.pathsep.join(SYSTEM_PLACES))

    def version(self, program: str) -> str:
        """ "7.1.1", or nothing where it does not say."""
        said = subprocess.run(
            [program, self.version_option], capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False
        )
        number = re.search(r"\d+(\.\d+)+", (said.stdout + said.stderr).decode("utf-8", "replace"))
        return number[0] if number else ""


def _nginx(program: str, folder: Path, port: int, origin: int) -> list[str]:
    return [program, "-p", str(folder), "-e", "stderr", "-c", _write(folder, "nginx.conf", NGINX, port, origin)]


def _varnish(program: str, folder: Path, port: int, origin: int) -> list[str]:
    vcl = _write(folder, "default.vcl", VARNISH, port, origin)
    lifetimes = [word for name, value in LIFETIMES.items() for word in ("-p", f"{name}={value}")]
    return [
        *(program, "-F", "-j", "none", "-n", str(folder / "state"), "-a", f"127.0.0.1:{port}"),
        *("-f", vcl, "-s", "malloc,64M", *lifetimes),
    ]


#: Of Varnish, in seconds.
LIFETIMES = {"default_ttl": 0, "default_grace": 0, "default_keep": 3600}


def _squid(program: str, folder: Path, port: int, origin: int) -> list[str]:
    return [program, "-N", "-n", f"conformance{port}", "-f", _write(folder, "squid.conf", SQUID, port, origin)]


def _apache(program: str, folder: Path, port: int, origin: int) -> list[str]:
    (folder / "cache").mkdir()
    modules = next((one for one in APACHE_MODULES if Path(one).is_dir()), APACHE_MODULES[0])
    text = APACHE.replace("{modules}", modules)
    return [program, "-D", "FOREGROUND", "-f", _write(folder, "apache.conf", text, port, origin)]


APACHE_MODULES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules")


def _trafficserver(program: str, folder: Path, port: int, origin: int) -> list[str]:
    for name in ("etc", "run", "log", "cache"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    # As root it gives its rights up; otherwise it is told to stay who it is.
    user = "nobody" if os.geteuid() == 0 else "#-1"
    _write(folder, "etc/records.config", TRAFFICSERVER.replace("{user}", user), port, origin)
    _write(folder, "etc/remap.config", "map http://127.0.0.1:{port}/ http://127.0.0.1:{origin}/\n", port, origin)
    _write(folder, "etc/ip_allow.yaml", ALLOWED, port, origin)
    _write(folder, "etc/storage.config", "{folder}/cache 64M\n", port, origin)
    _write(folder, "runroot.yaml", RUNROOT, port, origin)
    return [program, f"--run-root={folder}/runroot.yaml"]


ALLOWED = """\
ip_allow:
  - apply: in
    ip_addrs: 127.0.0.1
    action: allow
    methods: ALL
"""
RUNROOT = """\
prefix: /usr
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: {folder}/etc
datadir: /usr/share/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {folder}
runtimedir: {folder}/run
logdir: {folder}/log
cachedir: {folder}/cache
"""


def _write(folder: Path, name: str, text: str, port: int, origin: int) -> str:
    path = folder / name
    path.write_text(text.format(folder=folder, port=port, origin=origin), encoding="utf-8")
    return str(path)


PEERS = (
    Peer("nginx", "nginx proxy_cache", "nginx", "-v", "nginx-light", _nginx),
    Peer("varnish", "Varnish", "varnishd", "-V", "varnish", _varnish),
    Peer("trafficserver", "Apache Traffic Server", "traffic_server", "-V", "trafficserver", _trafficserver),
    Peer("squid", "Squid", "squid", "-v", "squid", _squid),
    Peer("apache", "Apache httpd mod_cache", "apache2", "-v", "apache2", _apache),
)
