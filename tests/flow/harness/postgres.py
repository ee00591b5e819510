"""A private PostgreSQL 15 cluster: unix socket only, own temporary folder, run
by an unprivileged user."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2

BIN = Path("/usr/lib/postgresql/15/bin")
SETTINGS = """
listen_addresses = ''
fsync = off                 # a test kills the server program, not the machine
shared_buffers = 64MB
max_connections = 60
log_min_messages = warning
"""


class Cluster:
    def __init__(self, settings=SETTINGS):
        self.dir = Path(tempfile.mkdtemp(prefix="he-pg-"))
        self.data = self.dir / "data"
        self.log = self.dir / "postgres.log"
        self._databases = 0
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            self._as = ["runuser", "-u", "postgres", "--"]
        else:
            self._as = []
        self._run(BIN / "initdb", "-D", self.data, "-U", "postgres", "-A",
                  "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(settings)
            conf.write(f"unix_socket_directories = '{self.dir}'\n")
        self.start()

    def _run(self, *args):
        subprocess.run([*self._as, *map(str, args)], check=True, timeout=60,
                       cwd=self.dir, stdout=subprocess.DEVNULL)

    def start(self):
        self._run(BIN / "pg_ctl", "-D", self.data, "-l", self.log, "-w",
                  "start")

    def stop(self):
        self._run(BIN / "pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def remove(self):
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def url(self, database, user="postgres"):
        return f"postgresql://{user}@/{database}?host={self.dir}"

    def new_database(self):
        self._databases += 1
        name = f"t{self._databases}"
        self.query("postgres", f"CREATE DATABASE {name}")
        return name

    def query(self, database, sql, args=None, role=None, tenants=None):
        """Rows as tuples ([] for a statement without a result). As superuser;
        under a role's row-level security with `role`, seeing `tenants`."""
        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                if role:
                    cursor.execute(f"SET ROLE {role}")
                if tenants is not None:
                    cursor.execute("SELECT set_config('headend.tenants', %s, "
                                   "false)", (tenants,))
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
