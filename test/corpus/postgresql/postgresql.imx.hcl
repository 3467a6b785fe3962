# PostgreSQL with a cluster in a volume.
#
# An image is the same for everybody, so it can't hold a cluster: that is state, with an identifier and
# a password of its own. The first start finds the volume empty and makes one, as the user that the
# server runs as. Later starts, and later releases, find it there. initdb and start.sh need a shell, so
# dash is asked for by name.

image "postgresql" {
  packages    = ["postgresql", "dash"]
  without     = ["libllvm14"] # compiles long queries while they run; jit=off in start.sh says so
  user        = "postgres"
  command     = ["/bin/sh", "/etc/postgresql/start.sh"]
  stop_signal = "SIGINT" # PostgreSQL's fast shutdown: it ends sessions and writes a checkpoint
}

service "postgresql" {
  image = image.postgresql
  grace = "30s"

  port "sql" {
    container = 5432
    publish   = 5432
  }
  file "/etc/postgresql/start.sh" {
    content = file("start.sh")
  }
  file "/etc/postgresql/pg_hba.conf" {
    content = file("pg_hba.conf")
  }
  file "/etc/postgresql/password" { # of the user postgres, when the cluster is made
    content = "example\n"
    mode    = "0400"
    owner   = "postgres"
  }
  volume "data" {
    path = "/var/lib/postgresql"
  }
  tmpfs "/run/postgresql" {
    size = "1MiB"
  }
  health {
    every = "500ms"
    tcp {
      port = "sql"
    }
  }
  resources {
    cpu    = 1.0
    memory = "256MiB"
    pids   = 64
  }
}
