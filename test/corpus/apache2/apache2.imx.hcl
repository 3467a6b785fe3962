# Apache with Debian's own configuration: the modules and sites that its packages enable are enabled. Only
# the ports and the default site are this template's, because an instance's user may not listen on port 80.

image "apache2" {
  packages    = ["apache2"]
  user        = "www-data"
  command     = ["/usr/sbin/apache2", "-D", "FOREGROUND"]
  stop_signal = "SIGWINCH" # Apache then finishes the requests that it has

  # apache2ctl would read these from /etc/apache2/envvars, with a shell.
  environment = {
    APACHE_RUN_USER  = "www-data"
    APACHE_RUN_GROUP = "www-data"
    APACHE_RUN_DIR   = "/run/apache2"
    APACHE_LOCK_DIR  = "/run/apache2"
    APACHE_PID_FILE  = "/run/apache2/apache2.pid"
    APACHE_LOG_DIR   = "/run/apache2"
  }
  file "/srv/www/index.html" {
    content = "Served by Apache.\n"
  }
}

service "apache2" {
  image = image.apache2

  port "http" {
    container = 8080
    publish   = 8080
  }
  file "/etc/apache2/ports.conf" {
    content = "Listen 8080\n"
  }
  file "/etc/apache2/sites-available/000-default.conf" {
    content = file("site.conf")
  }
  tmpfs "/run/apache2" {
    size = "4MiB"
  }
  health {
    every = "500ms"
    http {
      port = "http"
    }
  }
  resources {
    cpu    = 0.5
    memory = "96MiB"
    pids   = 128
  }
}
