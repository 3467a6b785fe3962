# MariaDB with its databases in a volume.
#
# An image is the same for everybody, so it can't hold databases: those are state. The first start finds the volume
# empty and makes the system's tables, as the user that the server runs as; start.sh needs a shell for that, so
# dash is asked for by name.

image "mariadb" {
  packages = ["mariadb-server", "dash"]
  without  = ["galera-4", "gawk", "lsof", "mariadb-client", "rsync", "socat"] # for clusters, backups and scripts
  # Tools for the files of a server that doesn't run, each with half of the server in it.
  generated = ["!/usr/bin/aria_*", "!/usr/bin/innochecksum", "!/usr/bin/myisam*"]
  user      = "mysql"
  command   = ["/bin/sh", "/etc/mysql/start.sh"]
}

service "mariadb" {
  image    = image.mariadb
  grace    = "30s"
  deadline = "2m" # making the tables takes a while

  port "sql" {
    container = 3306
    publish   = 3306
  }
  file "/etc/mysql/start.sh" {
    content = file("start.sh")
  }
  file "/etc/mysql/mariadb.conf.d/90-site.cnf" {
    content = file("site.cnf")
  }
  file "/etc/mysql/accounts.sql" {
    content = file("accounts.sql")
    mode    = "0400"
    owner   = "mysql"
  }
  volume "data" {
    path = "/var/lib/mysql"
  }
  tmpfs "/run/mysqld" {
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
    memory = "512MiB"
    pids   = 64
  }
}
